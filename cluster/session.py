"""The only place that starts or joins Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


def connect(*, num_cpus: int | None = None, num_gpus: int | None = None) -> bool:
    """Join the cluster that this process belongs to, or start Ray on this machine.

    Inside a submitted job, and wherever RAY_ADDRESS is set, Ray joins that cluster and the counts are
    ignored, since they describe a cluster that is already there. A Ray started here has token
    authentication on (Ray's own default, with the token in ~/.ray) unless RAY_AUTH_MODE=disabled. Does
    nothing when Ray runs in this process already.

    Returns:
        Whether it started Ray on this machine: a cluster that nobody else adds nodes to.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    joins = bool(os.environ.get("RAY_ADDRESS"))
    ray.init(
        address=None if joins else "local",
        num_cpus=None if joins else num_cpus,
        num_gpus=None if joins else num_gpus,
        include_dashboard=None if joins else False,
        # What actors print stays in their log files; what matters comes back as an error.
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    return not joins


@contextmanager
def connected(*, num_gpus: int | None = None) -> Iterator[bool]:
    """In a cluster while this lasts; says whether `connect` started it, and ends it then."""
    started_here = connect(num_gpus=num_gpus)
    try:
        yield started_here
    finally:
        if started_here:
            disconnect()


def disconnect() -> None:
    """Leave the cluster; a Ray that `connect` started on this machine ends with all its actors."""
    ray.shutdown()
