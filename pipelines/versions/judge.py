"""Whether a candidate has shown enough, and whether a new champion may stay: from counts alone.

trial:  wait -> promote | refuse            of a candidate beside the champion
watch:  wait -> keep | refuse               of a new champion beside the former one
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any, Literal

from pipelines.serve_settings import TrialConfig
from pipelines.versions.tally import SURE, Counts

FEWEST_TIMES = {0.5: 20, 0.99: 100}
"""By quantile: with fewer requests on either side it says nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    what: Literal["wait", "promote", "keep", "refuse"]
    why: str
    """A sentence's end: figures, and never anything of a request."""


def judge_trial(champion: Counts, challenger: Counts, gate: TrialConfig, *, seconds: float) -> Verdict:
    """Of a candidate that has been tried for so many seconds.

    It is refused as soon as it has failed too often for a whole trial, and for its answers or times once the trial is
    over. A time counts against it only where chance does not explain it.
    """
    if (trouble := _too_many_errors(challenger, gate)) is not None:
        return Verdict("refuse", trouble)
    seen = min(challenger.requests, challenger.compared) if gate.min_agreement > 0 else challenger.requests
    if seen < gate.min_requests or seconds < gate.min_seconds:
        return Verdict(
            "wait", f"{seen} of {gate.min_requests} requests, {seconds:.0f} of {gate.min_seconds:g} s are over"
        )
    if gate.min_agreement > 0 and challenger.agreement < gate.min_agreement:
        return Verdict(
            "refuse", f"its answers are the champion's to {challenger.agreement:.3f}, below {gate.min_agreement:g}"
        )
    for q, fewest in FEWEST_TIMES.items():
        if min(len(champion.times), len(challenger.times)) < fewest:
            continue
        if challenger.quantile(q, -SURE) > gate.max_latency_ratio * champion.quantile(q, SURE):
            return Verdict("refuse", f"its {_times(champion, challenger, q)}, above {gate.max_latency_ratio:g} times")
    told = [f"{challenger.requests} requests, {challenger.errors} errors"]
    if challenger.compared:
        told.append(f"agreement {challenger.agreement:.3f}")
    if champion.times and challenger.times:
        told.append(_times(champion, challenger, 0.5))
    return Verdict("promote", "; ".join(told))


def judge_watch(champion: Counts, gate: TrialConfig, *, seconds: float) -> Verdict:
    """Of a version that has been the champion for so many seconds, with the former one behind it."""
    if (trouble := _too_many_errors(champion, gate)) is not None:
        return Verdict("refuse", trouble)
    if seconds < gate.watch_seconds:
        return Verdict("wait", f"{seconds:.0f} of {gate.watch_seconds:g} s are over")
    return Verdict("keep", f"{champion.requests} requests, {champion.errors} errors")


def facts(champion: Counts, challenger: Counts, verdict: Verdict, *, seconds: float) -> dict[str, Any]:
    """A trial in JSON, for people; times in milliseconds."""
    found: dict[str, Any] = {
        "verdict": verdict.what,
        "why": verdict.why,
        "seconds": round(seconds),
        "requests": challenger.requests,
        "errors": challenger.errors,
        "compared": challenger.compared,
    }
    if challenger.compared:
        found["agreement"] = round(challenger.agreement, 4)
    for name, counts in (("ms", challenger), ("champion_ms", champion)):
        if counts.times:
            found[name] = {f"p{100 * q:.0f}": round(1000 * counts.quantile(q), 2) for q in FEWEST_TIMES}
    return found


def _too_many_errors(counts: Counts, gate: TrialConfig) -> str | None:
    """Not the ratio so far: after the first request that would be 0 or 1."""
    allowed = floor(gate.max_error_ratio * max(counts.requests, gate.min_requests))
    if counts.errors <= allowed:
        return None
    return f"it failed on {counts.errors} of {counts.requests} requests that the other version answers"


def _times(champion: Counts, challenger: Counts, q: float) -> str:
    """Seconds of both, in words."""
    ours, theirs = challenger.quantile(q), champion.quantile(q)
    name = "median" if q == 0.5 else f"{100 * q:.0f}th percentile"
    return f"{name} is {1000 * ours:.1f} ms beside {1000 * theirs:.1f} ms"
