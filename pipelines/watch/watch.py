"""What the endpoint counts of itself, for Prometheus (docs/monitoring.md): requests, passes, outputs, drift.

Numbers only, and labels from short lists: paths of the interface, statuses, versions, workers, the model's own labels.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipelines.inference.audit import Entry
from pipelines.watch.baseline import Baseline
from pipelines.watch.drift import FEWEST, WINDOW, Drift
from pipelines.watch.said import said
from pipelines.watch.state import State, StateCollector

OTHER = "other"
MOST_NAMES = 64
"""Different values of a label; Prometheus keeps a series for each."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class Passed:
    """One pass through the model."""

    version: str
    worker: str
    """Its place among the workers, such as 0: a worker that takes the place of a lost one is no new name."""
    lengths: tuple[int, ...]
    """Sub-words of each row."""
    waited: float
    """Seconds that the oldest of its inputs waited for it."""
    computed: float
    """Seconds from when the worker got it to when its answers were there."""

    @property
    def padded(self) -> int:
        """Sub-words that were computed, padding among them: every row is as long as the longest."""
        return len(self.lengths) * max(self.lengths, default=0)


class Names:
    """The first so many values of a label; what comes later is `other`."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._known: set[str] = set()
        self._most = most

    def __call__(self, name: str) -> str:
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


class Watch:
    """Belongs to one thread: what is told and what is read come from the event loop of the interface."""

    def __init__(self, *, window: int = WINDOW, fewest: int = FEWEST) -> None:
        """
        Args:
            window: the latest values that drift is seen in.
            fewest: values without which nothing is said of drift.
        """
        self.registry = CollectorRegistry()
        self._window, self._fewest = window, fewest
        self._drifts: dict[str, Drift] = {}
        self._versions, self._workers, self._labels = Names(), Names(), Names()
        self._requests = self._counter("requests", "Requests.", "path", "status")
        self._request_seconds = self._histogram("request_seconds", "From a request to its answer.", SECONDS, "path")
        self._missed = self._counter("deadline_misses", "Requests whose deadline was missed.", "how")
        # As for failures of workers: the first would go unseen.
        for how in ("refused", "passed"):
            self._missed.labels(how).inc(0)
        self._passes = self._counter("passes", "Passes through the model.", "version", "worker")
        self._inputs = self._counter("pass_inputs", "Rows of all passes.", "version")
        self._subwords = self._counter("subwords", "Sub-words of all passes, without padding.", "version")
        self._padded = self._counter("padded_subwords", "Sub-words of all passes, padding among them.", "version")
        self._waited = self._histogram("wait_seconds", "How long the oldest of a pass waited.", SECONDS, "version")
        self._computed = self._histogram("pass_seconds", "How long a pass took.", SECONDS, "version")
        self._failures = self._counter("worker_failures", "Workers that were lost or failed a pass.", "worker")
        self._starts = self._counter("worker_starts", "Workers that became ready.", "worker")
        self._retries = self._counter("pass_retries", "Passes that another worker was given.")
        self._outputs = self._counter("outputs", "Outputs.", "version")
        self._failed = self._counter("failed_inputs", "Inputs that the model failed on.", "version")
        self._said = self._counter("output_labels", "Labels, or types of entities, in outputs.", "version", "label")
        self._confidence = self._histogram(
            "output_confidence", "Probabilities of what outputs say.", CONFIDENCES, "version"
        )
        self._length = self._histogram("input_subwords", "Sub-words of inputs.", LENGTHS, "version")
        self._spans_dropped = self._counter("trace_spans_dropped", "Spans of traces that no collector got.")
        self._state = StateCollector()
        self.registry.register(self._state)
        self.registry.register(_DriftCollector(self._drifts))

    def requested(self, entry: Entry) -> None:
        """A request is over; the guard tells of every one."""
        path = entry.path or OTHER
        self._requests.labels(path, "gone" if entry.status is None else str(entry.status)).inc()
        self._request_seconds.labels(path).observe(entry.milliseconds / 1000)

    def deadline_missed(self, how: str) -> None:
        """A request was refused because its deadline could not be met, or its deadline passed."""
        self._missed.labels(how).inc()

    def passed(self, done: Passed) -> None:
        """A pass is over."""
        version = self._versions(done.version)
        self._passes.labels(version, self._workers(done.worker)).inc()
        self._inputs.labels(version).inc(len(done.lengths))
        self._subwords.labels(version).inc(sum(done.lengths))
        self._padded.labels(version).inc(done.padded)
        self._waited.labels(version).observe(done.waited)
        self._computed.labels(version).observe(done.computed)

    def answered(self, version: str, lengths: Sequence[int], outputs: Sequence[Any]) -> None:
        """Inputs got their outputs.

        Args:
            lengths: sub-words of each input.
            outputs: of the predictor's `gives`; None for an input that the model failed on.
        """
        drift, version = self._drifts.get(version), self._versions(version)
        confidence, input_length = self._confidence.labels(version), self._length.labels(version)
        # Counted here first: a series of Prometheus's client costs more to add to than all the rest.
        labels: collections.Counter[str] = collections.Counter()
        for length, output in zip(lengths, outputs, strict=True):
            if output is None:
                self._failed.labels(version).inc()
                continue
            input_length.observe(length)
            found = said(output)
            labels.update(found.labels)
            for probability in found.confidences:
                confidence.observe(probability)
            if drift is not None:
                drift.add(length, found)
        self._outputs.labels(version).inc(sum(output is not None for output in outputs))
        for label, count in labels.items():
            self._said.labels(version, self._labels(label)).inc(count)

    def worker_started(self, worker: str) -> None:
        """A worker is ready: at the beginning, or in the place of one that was lost."""
        self._starts.labels(self._workers(worker)).inc()
        # A series that is not there yet has no increase: the first failure would go unseen.
        self._failures.labels(self._workers(worker)).inc(0)

    def worker_failed(self, worker: str) -> None:
        """A worker was lost, or did not do what it was asked to."""
        self._failures.labels(self._workers(worker)).inc()

    def pass_retried(self) -> None:
        """Another worker was given a pass that one failed."""
        self._retries.inc()

    def spans_dropped(self, number: int) -> None:
        """Spans of traces were dropped. The one thing that any thread may tell."""
        self._spans_dropped.inc(number)

    def serves(self, version: str, baseline: Baseline | None) -> None:
        """A version begins to answer; without a baseline nothing is said of its drift."""
        if baseline is not None:
            self._drifts[version] = Drift(baseline, size=self._window, fewest=self._fewest)

    def retired(self, version: str) -> None:
        """A version no longer answers."""
        self._drifts.pop(version, None)

    def follow(self, look: Callable[[], State]) -> None:
        """Ask `look` how things stand, whenever the figures are read."""
        self._state.look = look

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything in the form that `Accept` asks for, Prometheus's text or OpenMetrics, and that form's name."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"motley_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"motley_{name}", meaning, labels, buckets=buckets, registry=self.registry)


class _DriftCollector(Collector):
    def __init__(self, drifts: Mapping[str, Drift]) -> None:
        self._drifts = drifts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(
            "motley_drift_psi", "Population stability index against the baseline.", labels=("version", "of")
        )
        for version, drift in self._drifts.items():
            for of, value in drift.values().items():
                gauge.add_metric((version, of), value)
        yield gauge
