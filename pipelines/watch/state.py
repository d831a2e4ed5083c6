"""How the endpoint stands at the moment: asked for whenever somebody looks, so that nothing of it is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version of the model that answers."""

    version: str
    role: Literal["current", "candidate"]
    share: float
    """Of the requests, 0 to 1."""


@dataclass(frozen=True, slots=True)
class State:
    waiting_inputs: int
    waiting_seconds: float
    """Of work."""
    limit_seconds: float
    """Of work that may wait (`serve.max_wait_seconds`): what comes then is answered 503."""
    workers: int
    """That are ready to compute."""
    workers_wanted: int
    versions: Sequence[ServedVersion] = ()
    certificate_ends: float | None = None
    """In seconds since 1970; None without TLS."""


GAUGES = {
    "waiting_inputs": ("queue_inputs", "Inputs that wait for a pass."),
    "waiting_seconds": ("queue_seconds", "Seconds of work that wait for a pass."),
    "limit_seconds": ("queue_limit_seconds", "Seconds of work that may wait."),
    "workers": ("workers", "Workers that are ready to compute."),
    "workers_wanted": ("workers_wanted", "Workers that there ought to be."),
    "certificate_ends": ("certificate_end_seconds", "When the certificate ends, since 1970."),
}


class StateCollector(Collector):
    """Nothing is said of the state while nobody tells it."""

    def __init__(self) -> None:
        self.look: Callable[[], State] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = None if self.look is None else self.look()
        for attribute, (name, meaning) in GAUGES.items():
            gauge = GaugeMetricFamily(f"motley_{name}", meaning)
            if state is not None and (value := getattr(state, attribute)) is not None:
                gauge.add_metric((), value)
            yield gauge
        shares = GaugeMetricFamily("motley_version_share", "Share of the requests.", labels=("version", "role"))
        for one in () if state is None else state.versions:
            shares.add_metric((one.version, one.role), one.share)
        yield shares
