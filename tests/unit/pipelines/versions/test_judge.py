"""Verdicts from counts."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.serve_settings import TrialConfig
from pipelines.versions.judge import judge_trial, judge_watch
from pipelines.versions.tally import Counts, Tally

GATE = TrialConfig(min_requests=100, min_seconds=60, max_error_ratio=0.02, max_latency_ratio=1.5, min_agreement=0.9)


def counts(
    n: int = 200, *, errors: int = 0, ms: float = 10, agreement: float = 1.0, compared: int | None = None
) -> Counts:
    tally = Tally()
    for i in range(n - errors):
        tally.answered((ms + i % 10) / 1000)
    for _ in range(errors):
        tally.failed()
    for _ in range(n if compared is None else compared):
        tally.compared(agreement)
    return tally.counts


@pytest.mark.parametrize(
    ("challenger", "seconds", "what", "why"),
    [
        ({}, 60, "promote", "200 requests, 0 errors; agreement 1.000; median is"),
        ({"n": 99}, 600, "wait", "99 of 100 requests"),
        ({}, 59, "wait", "59 of 60 s"),
        ({"compared": 5}, 600, "wait", "5 of 100 requests"),
        ({"errors": 4}, 60, "promote", "4 errors"),
        ({"errors": 5}, 60, "refuse", "failed on 5 of 200 requests"),
        ({"n": 3, "errors": 3}, 1, "refuse", "failed on 3 of 3 requests"),
        ({"n": 2, "errors": 2}, 1, "wait", "2 of 100 requests"),
        ({"agreement": 0.89}, 60, "refuse", "to 0.890, below 0.9"),
        ({"agreement": 0.1, "n": 50}, 60, "wait", "50 of 100"),
        ({"ms": 13}, 60, "promote", "median is"),
        ({"ms": 40}, 60, "refuse", "median is 44.0 ms beside 14.0 ms, above 1.5 times"),
    ],
)
def test_a_candidate_is_promoted_once_it_has_shown_enough(
    challenger: dict[str, Any], seconds: float, what: str, why: str
) -> None:
    verdict = judge_trial(counts(), counts(**challenger), GATE, seconds=seconds)
    assert verdict.what == what
    assert why in verdict.why


def test_a_candidate_that_is_slow_only_now_and_then_is_refused_for_its_99th_percentile() -> None:
    tally = Tally()
    for i in range(400):
        tally.answered(1.0 if i % 20 == 0 else 0.01)
        tally.compared(1.0)
    verdict = judge_trial(counts(400), tally.counts, GATE, seconds=60)
    assert (verdict.what, verdict.why[:21]) == ("refuse", "its 99th percentile is")[
        :2
    ] or "99th percentile" in verdict.why
    assert verdict.what == "refuse"


def test_one_slow_request_of_a_hundred_is_chance() -> None:
    tally = Tally()
    for i in range(100):
        tally.answered(1.0 if i == 50 else 0.01)
        tally.compared(1.0)
    assert judge_trial(counts(100), tally.counts, GATE, seconds=60).what == "promote"


def test_without_a_least_agreement_none_is_waited_for() -> None:
    gate = GATE.model_copy(update={"min_agreement": 0.0})
    assert judge_trial(counts(), counts(compared=0), gate, seconds=60).what == "promote"


@pytest.mark.parametrize(
    ("errors", "seconds", "what"),
    [(0, 599, "wait"), (0, 600, "keep"), (4, 5, "wait"), (5, 5, "refuse"), (5, 600, "refuse")],
)
def test_a_new_champion_stays_unless_it_fails_too_often(errors: int, seconds: float, what: str) -> None:
    assert judge_watch(counts(errors=errors), GATE, seconds=seconds).what == what


def test_a_tally_keeps_a_fair_sample_of_many_times() -> None:
    tally = Tally()
    for i in range(20_000):
        tally.answered(i / 20_000)
    found = tally.counts
    assert (found.requests, len(found.times)) == (20_000, 2000)
    assert found.quantile(0.5) == pytest.approx(0.5, abs=0.05)
    assert found.quantile(0.99) == pytest.approx(0.99, abs=0.02)
