"""How an endpoint stands, for whoever reads its figures."""

from __future__ import annotations

from cluster.crowd import Crowd
from cluster.lanes import WorkerLanes
from pipelines.serve_settings import ServeConfig
from pipelines.versions.switch import Switch
from pipelines.watch.state import ServedVersion, State


def look(
    switch: Switch, lanes: WorkerLanes, crowd: Crowd, settings: ServeConfig, certificate_ends: float | None
) -> State:
    trial = switch.trial
    share = (trial.share or 0.0) if trial is not None else 0.0
    versions = [ServedVersion(switch.champion.ref.version, "current", 1 - share)]
    if trial is not None:
        versions.append(ServedVersion(trial.lane.ref.version, "candidate", share))
    return State(
        waiting_inputs=sum(lane.batcher.num_waiting for lane in lanes.opened),
        waiting_seconds=sum(lane.batcher.seconds_waiting for lane in lanes.opened),
        limit_seconds=settings.max_wait_seconds,
        workers=len(crowd.present),
        workers_wanted=sum(group.least for group in settings.groups),
        versions=versions,
        certificate_ends=certificate_ends,
    )
