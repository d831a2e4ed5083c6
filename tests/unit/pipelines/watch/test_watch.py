"""What the watch counts, read as Prometheus reads it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.inference.audit import Entry
from pipelines.inference.class_predictor import Label
from pipelines.watch.baseline import Baseline, Binned, Named
from pipelines.watch.state import ServedVersion, State
from pipelines.watch.watch import MOST_NAMES, Names, Passed, Watch

BASELINE = Baseline(100, Binned.of([3] * 100), None, Named.of(["a", "b"] * 50))


def values(watch: Watch) -> dict[str, float]:
    """By the sample's name and labels, as `name{label=value}`."""
    body, _ = watch.text()
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def entry(path: str | None, status: int | None) -> Entry:
    return Entry("now", "id", path=path, status=status, milliseconds=30)


def test_requests_are_counted_by_path_and_status() -> None:
    watch = Watch()
    for path, status in (("/v1/predict", 200), ("/v1/predict", 200), ("/v1/predict", 401), (None, 404), ("/", None)):
        watch.requested(entry(path, status))
    found = values(watch)
    assert found["motley_requests_total{path=/v1/predict,status=200}"] == 2
    assert found["motley_requests_total{path=/v1/predict,status=401}"] == 1
    assert found["motley_requests_total{path=other,status=404}"] == 1
    assert found["motley_requests_total{path=/,status=gone}"] == 1
    assert found["motley_request_seconds_sum{path=/v1/predict}"] == pytest.approx(0.09)


def test_a_pass_tells_what_padding_costs() -> None:
    done = Passed("3", "0", (2, 5, 3), waited=0.5, computed=0.25)
    assert done.padded == 15
    watch = Watch()
    watch.passed(done)
    watch.passed(Passed("3", "1", (), 0, 0))
    found = values(watch)
    assert found["motley_passes_total{version=3,worker=0}"] == 1
    assert found["motley_pass_inputs_total{version=3}"] == 3
    assert found["motley_subwords_total{version=3}"] == 10
    assert found["motley_padded_subwords_total{version=3}"] == 15
    assert found["motley_wait_seconds_sum{version=3}"] == 0.5
    assert found["motley_pass_seconds_sum{version=3}"] == 0.25


def test_outputs_are_counted_by_version_and_label() -> None:
    watch = Watch()
    watch.answered("1", [3, 3, 9], [Label("a", 0.25, {}), Label("b", 0.75, {}), None])
    found = values(watch)
    assert found["motley_outputs_total{version=1}"] == 2
    assert found["motley_failed_inputs_total{version=1}"] == 1
    assert found["motley_output_labels_total{label=a,version=1}"] == 1
    assert found["motley_output_confidence_bucket{le=0.5,version=1}"] == 1
    assert found["motley_input_subwords_bucket{le=8.0,version=1}"] == 2


def test_workers_failures_begin_at_0_so_that_the_first_is_an_increase() -> None:
    watch = Watch()
    watch.worker_started("0")
    assert values(watch)["motley_worker_failures_total{worker=0}"] == 0
    watch.worker_failed("0")
    watch.pass_retried()
    watch.worker_started("0")
    found = values(watch)
    assert found["motley_worker_failures_total{worker=0}"] == 1
    assert found["motley_worker_starts_total{worker=0}"] == 2
    assert found["motley_pass_retries_total{}"] == 1


def test_drift_is_told_by_version_and_ends_with_it() -> None:
    watch = Watch(window=10, fewest=4)
    watch.serves("1", BASELINE)
    watch.serves("2", None)
    for version in ("1", "2"):
        watch.answered(version, [3] * 4, [Label(name, 0.5, {}) for name in "abab"])
    found = values(watch)
    assert found["motley_drift_psi{of=labels,version=1}"] == 0
    assert found["motley_drift_psi{of=lengths,version=1}"] == 0
    assert not any("drift" in name and "version=2" in name for name in found)
    watch.retired("1")
    assert not any("drift" in name for name in values(watch))


def test_the_state_is_asked_for_whenever_figures_are_read() -> None:
    watch = Watch()
    assert not any("workers" in name for name in values(watch))
    workers = [2]
    versions = (ServedVersion("1", "current", 0.9), ServedVersion("2", "candidate", 0.1))
    watch.follow(lambda: State(7, 1.5, 30, workers[0], 2, versions))
    found = values(watch)
    assert (found["motley_queue_inputs{}"], found["motley_queue_seconds{}"], found["motley_workers{}"]) == (7, 1.5, 2)
    assert found["motley_version_share{role=candidate,version=2}"] == 0.1
    assert "motley_certificate_end_seconds{}" not in found
    workers[0] = 0
    assert values(watch)["motley_workers{}"] == 0


def test_a_label_has_a_bounded_number_of_values() -> None:
    names = Names(2)
    assert [names(name) for name in "abcab"] == ["a", "b", "other", "a", "b"]
    watch = Watch()
    for n in range(1000):
        watch.answered("1", [1], [Label(f"label{n}", 0.5, {})])
    assert sum("output_labels" in name for name in values(watch)) == 2 * (MOST_NAMES + 1)


def test_openmetrics_comes_to_those_who_ask_for_it() -> None:
    body, content_type = Watch().text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
