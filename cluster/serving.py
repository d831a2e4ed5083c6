"""A registered model as a Ray Serve application: a front that listens, and workers that compute."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.schema import LoggingConfig

from cluster.counting import counter
from cluster.front import Front
from cluster.placement import Wanted, bundles_of, wanted
from cluster.serve_options import ServeOptions
from cluster.worker import FRONT, Worker
from pipelines.workers_settings import WorkersConfig

QUIET = LoggingConfig(enable_access_log=False)
"""Requests are in the audit log; a line for every pass and every second would cost more than it tells."""
MANY = 100_000
"""Requests that Ray Serve passes on at once: how much may wait is the batcher's to say, which knows what it costs."""
HEAD = {"node:__internal_head__": 0.001}
"""Where what listens by itself is put: at the address that the configuration names."""


def build(options: ServeOptions) -> serve.Application:
    """The application, ready for `serve.run`."""
    workers = [_workers(options, group) for group in range(len(options.settings.groups))]
    own = {} if options.listen is None else {"resources": HEAD}
    front = serve.deployment(
        name=FRONT,
        num_replicas=1,
        max_ongoing_requests=MANY,
        logging_config=QUIET,
        ray_actor_options={"num_cpus": 0, **own},
    )(serve.ingress()(Front))
    return front.bind(options, workers, counter() if options.access.counts else None)


def _workers(options: ServeOptions, group: int) -> serve.Application:
    """A deployment of like workers."""
    settings = options.settings.groups[group]
    own, *stages = bundles(settings)
    needs: dict[str, Any] = {"num_cpus": own["CPU"], "num_gpus": own.get("GPU", 0)}
    if settings.labels and not stages:
        needs["label_selector"] = settings.labels
    spread: dict[str, Any] = {}
    if stages:
        spread = {"placement_group_bundles": [own, *stages], "placement_group_strategy": "PACK"}
        if settings.labels:
            spread["placement_group_bundle_label_selector"] = [settings.labels] * (1 + len(stages))
    worker = serve.deployment(
        name="Worker" if group == 0 else f"Worker{group + 1}",
        max_ongoing_requests=MANY,
        logging_config=QUIET,
        ray_actor_options=needs,
        **spread,
        **_scaled(settings),
    )(Worker)
    return worker.bind(options, group)


def bundles(settings: WorkersConfig) -> list[dict[str, float]]:
    """What the processes of a worker take of their nodes: its own, and the stages of a model that is cut."""
    stages = [] if settings.plan is None else wanted(settings.plan)
    return bundles_of([Wanted(settings.device, settings.cpus_per_replica), *stages])


def _scaled(settings: WorkersConfig) -> dict[str, Any]:
    """How many workers, as Ray Serve takes it."""
    if (scale := settings.scale) is None:
        return {"num_replicas": settings.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": scale.least,
            "initial_replicas": max(1, scale.least),
            "max_replicas": scale.most,
            # A worker has one pass at a time, and is sent a second one only when more waits than may.
            "target_ongoing_requests": 1,
            "upscale_delay_s": scale.up_after,
            "downscale_delay_s": scale.down_after,
            "downscale_to_zero_delay_s": scale.down_after,
            # What happened in this time is what counts; it must be longer than from one count to the next.
            "metrics_interval_s": 1.0,
            "look_back_period_s": max(2.0, min(scale.up_after, scale.down_after)),
        }
    }
