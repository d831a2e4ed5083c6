"""From a plan to whatever runs its steps."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.crew import StageCrew
from cluster.data_crew import DataCrew
from cluster.fleet import Fleet
from cluster.one_replica import OneReplica
from cluster.placement import Wanted
from cluster.replicas import Replicas
from pipelines.plan_settings import PlanConfig


def make_fleet(
    devices: Sequence[Sequence[Wanted]],
    servers: Sequence[Wanted],
    config: PlanConfig,
    task: str,
    data: DataCrew,
    *,
    may_grow: bool,
    copy_every: int,
) -> Fleet:
    """Reserve the devices and start the actors, without waiting for them.

    Args:
        devices: of the stages of each replica.
        copy_every: updates from one copy of the weights to the next.
        servers: of each parameter server.

    Raises:
        UserError: the cluster has not got what the plan asks for.
    """
    if servers:
        return Replicas(config, devices, servers, task, data, may_grow=may_grow, copy_every=copy_every)
    (only,) = devices
    crew = StageCrew(only, task, may_grow=may_grow, timeout=config.timeout)
    return OneReplica(crew, data, copy_every=copy_every, timeout=config.timeout)
