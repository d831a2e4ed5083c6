"""From a plan to whatever runs its steps."""

from __future__ import annotations

from cluster.crew import DataCrew, StageCrew
from cluster.fleet import Fleet
from cluster.one_replica import OneReplica
from cluster.placement import wanted
from cluster.replicas import Replicas
from pipelines.config import PlanConfig


def make_fleet(config: PlanConfig, task: str, data: DataCrew, *, may_grow: bool) -> Fleet:
    """Reserve what the plan needs and start the actors, without waiting for them.

    Raises:
        UserError: the cluster has not got what the plan asks for.
    """
    devices = wanted(config)
    if config.servers:
        return Replicas(config, devices, task, data, may_grow=may_grow)
    crew = StageCrew(devices, task, may_grow=may_grow, timeout=config.timeout)
    return OneReplica(crew, data)
