"""A plan that a person gave, made smaller until the nodes that are left have room for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.plan.plan import stage_devices
from pipelines.plan_settings import PlanConfig

Room = tuple[float, int]
"""The CPUs and GPUs of one node."""


def fewer(config: PlanConfig, nodes: Sequence[Room]) -> PlanConfig | None:
    """The config with as many stages as there is room for, and with fewer replicas where one stage each is too many.

    With fewer stages it is cut anew, by cost, and the first of its devices are taken. Results do not depend on the
    number of stages, and that of replicas changes the order of one sum: stages go first. None where nothing fits.
    """
    return next((smaller for smaller in _smaller(config) if _has_room(smaller, nodes)), None)


def _smaller(config: PlanConfig) -> Iterator[PlanConfig]:
    assert config.stages != "auto"
    assert config.replicas != "auto"
    yield config
    kinds = stage_devices(config)
    for replicas in range(config.replicas, 0, -1):
        kept = {"shares": config.shares} if replicas == config.replicas else {"shares": None}
        for stages in range(config.stages, 0, -1):
            cut = {} if stages == config.stages else {"cut": None, "stage_of": None, "devices": kinds[:stages]}
            yield config.model_copy(update={"replicas": replicas, "stages": stages} | kept | cut)


def _has_room(config: PlanConfig, nodes: Sequence[Room]) -> bool:
    """Whether all stages and servers can be put on the nodes; the largest first, each where it just fits."""
    assert config.replicas != "auto"
    kinds = stage_devices(config) * config.replicas
    wanted = [(config.cpus_per_stage, int(kind == "gpu")) for kind in kinds]
    wanted += [(config.cpus_per_server, 0)] * config.servers
    left = list(nodes)
    for cpus, gpus in sorted(wanted, key=lambda one: (-one[1], -one[0])):
        room = [n for n, (free, cards) in enumerate(left) if free >= cpus - 1e-9 and cards >= gpus]
        if not room:
            return False
        # A stage on a CPU leaves the GPUs' nodes to those that need them.
        n = min(room, key=lambda n: (left[n][1], left[n][0]))
        left[n] = left[n][0] - cpus, left[n][1] - gpus
    return True
