"""From a plan to whatever runs its steps."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.crew import StageCrew
from cluster.data_crew import DataCrew
from cluster.fleet import Fleet
from cluster.one_replica import OneReplica
from cluster.placement import Wanted
from cluster.replicas import Replicas
from cluster.spares import Spares
from pipelines.plan_settings import PlanConfig
from pipelines.recovery_settings import RecoveryConfig


def make_fleet(
    devices: Sequence[Sequence[Wanted]],
    servers: Sequence[Wanted],
    config: PlanConfig,
    task: str,
    data: DataCrew,
    *,
    may_grow: bool,
    recovery: RecoveryConfig,
) -> Fleet:
    """Reserve the devices and start the actors, without waiting for them.

    Args:
        devices: of the stages of each replica.
        servers: of each parameter server.

    Raises:
        UserError: the cluster has not got what the plan asks for.
    """
    every, spares = recovery.copy_every, Spares(recovery.spares if recovery.tries else 0, task)
    if servers:
        return Replicas(config, devices, servers, task, data, may_grow=may_grow, copy_every=every, spares=spares)
    (only,) = devices
    crew = StageCrew(only, task, may_grow=may_grow, timeout=config.timeout, spares=spares)
    return OneReplica(crew, data, copy_every=every, spares=spares, timeout=config.timeout)
