"""For every rule something that makes it fire: real requests, faults of workers, an endpoint that is gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from pipelines.inference.deadlines import REQUEST_TIMEOUT
from pipelines.inference.tls import certificate_end
from pipelines.serve_settings import TlsConfig, TracesConfig
from pipelines.traces.traces import Traces
from tests.alerts.endpoint import USUAL, Endpoint
from tests.alerts.servers import Monitoring


@dataclass(frozen=True)
class World:
    endpoint: Endpoint
    monitoring: Monitoring
    folder: Path
    key: str
    seldom: str
    """A key with a rate of 1/s."""

    @contextmanager
    def asking(
        self, *texts: str, per_second: float, at_once: int = 1, key: str | None = None, within: float | None = None
    ) -> Iterator[None]:
        """Let `at_once` clients together ask so often for these texts, each time for all of them.

        Args:
            within: seconds that they give it.
        """
        done = threading.Event()

        def ask() -> None:
            headers = {"Authorization": f"Bearer {key or self.key}"}
            if within is not None:
                headers[REQUEST_TIMEOUT] = str(within)
            with httpx.Client(base_url=f"http://127.0.0.1:{self.endpoint.port}", headers=headers, timeout=20) as client:
                due = time.monotonic()
                while not done.wait(max(0.0, due - time.monotonic())):
                    due = max(due + at_once / per_second, time.monotonic() - 1)
                    # While the endpoint is down nobody gets an answer.
                    with suppress(httpx.HTTPError):
                        client.post("/v1/predict", json={"inputs": list(texts)})

        clients = [threading.Thread(target=ask, daemon=True) for _ in range(at_once)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            done.set()
            for client in clients:
                client.join(timeout=30)


Cause = Callable[[World], AbstractContextManager[None]]


@contextmanager
def down(world: World) -> Iterator[None]:
    """The endpoint stops."""
    world.endpoint.stop()
    try:
        yield
    finally:
        world.endpoint.start()


@contextmanager
def not_scraped(world: World) -> Iterator[None]:
    """It is taken out of Prometheus's targets."""
    world.monitoring.scrape(scraped=False)
    try:
        yield
    finally:
        world.monitoring.scrape(scraped=True)


def ready(number: int) -> Cause:
    @contextmanager
    def lost(world: World) -> Iterator[None]:
        usual, world.endpoint.workers.ready = world.endpoint.workers.ready, number
        try:
            yield
        finally:
            world.endpoint.workers.ready = usual

    return lost


@contextmanager
def faults(world: World) -> Iterator[None]:
    """A worker fails five passes, which the other one then takes."""
    world.endpoint.workers.faults = 5
    yield


def slow(seconds: float, per_second: float, at_once: int) -> Cause:
    @contextmanager
    def slowed(world: World) -> Iterator[None]:
        usual, world.endpoint.workers.seconds = world.endpoint.workers.seconds, seconds
        try:
            with world.asking("fine a b", per_second=per_second, at_once=at_once):
                yield
        finally:
            world.endpoint.workers.seconds = usual

    return slowed


@contextmanager
def late(world: World) -> Iterator[None]:
    """A caller gives requests less time than a pass takes."""
    usual, world.endpoint.workers.seconds = world.endpoint.workers.seconds, 0.2
    try:
        with world.asking("fine a b", per_second=10, within=0.1):
            yield
    finally:
        world.endpoint.workers.seconds = usual


@contextmanager
def traces_lost(world: World) -> Iterator[None]:
    """Where the collector is said to be nobody listens."""
    with socket.socket() as taken:
        # Bound, but nobody listens.
        taken.bind(("127.0.0.1", 0))
        settings = TracesConfig(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces", sampling_ratio=1)
        traces = Traces.of(settings, world.endpoint.watch.spans_dropped)
        assert traces is not None
        over = threading.Event()

        def trace() -> None:
            while not over.wait(0.5):
                with traces.request(""):
                    pass

        tracing = threading.Thread(target=trace, daemon=True)
        tracing.start()
        try:
            yield
        finally:
            over.set()
            tracing.join(timeout=10)
            traces.close()


def texts(*texts: str, per_second: float) -> Cause:
    return lambda world: world.asking(*texts, per_second=per_second)


@contextmanager
def guessing(world: World) -> Iterator[None]:
    """Somebody tries keys."""
    with world.asking("fine", per_second=40, at_once=2, key="mtl_0123456789ab_guessed"):
        yield


@contextmanager
def too_often(world: World) -> Iterator[None]:
    """A key that may ask once a second asks 20 times."""
    with world.asking("fine", per_second=20, at_once=2, key=world.seldom):
        yield


@contextmanager
def certificate(world: World) -> Iterator[None]:
    """A real certificate that ends in 13 days."""
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=13))
    path = world.folder / "certificate.pem"
    path.write_bytes(made.sign(key, None).public_bytes(Encoding.PEM))
    end = certificate_end(TlsConfig(certificate=str(path), key="key.pem"))
    world.endpoint.certificate_ends = lambda: end
    yield


LONG = " ".join(["fine", *["word"] * 60])


@dataclass(frozen=True)
class Made:
    """A cause in words, for the table."""

    words: str
    cause: Cause
    labels: Mapping[str, str]


def made(words: str, cause: Cause, **labels: str) -> Made:
    return Made(words, cause, labels)


CAUSES: Mapping[str, Made] = {
    # First, while the last six hours (minutes, here) have no other errors.
    "MotleyErrorBudget": made("the model fails on the input of 1 request in 30", texts("bad", per_second=0.7)),
    "MotleyErrors": made("the model fails on the input of every third request", texts("bad", per_second=10)),
    "MotleyFailedInputs": made("the model fails on 1 input of 5", texts("bad", *["fine a b"] * 4, per_second=5)),
    "MotleyWorkerFailures": made("a worker fails five passes", faults),
    "MotleyFewWorkers": made("one of two workers is lost", ready(1)),
    "MotleySlow": made("passes take 2.2 s", slow(2.2, per_second=1, at_once=2)),
    "MotleyQueueLong": made("passes take 0.6 s, and six callers ask at once", slow(0.6, per_second=100, at_once=6)),
    "MotleyOverloaded": made("passes take 0.6 s, and 14 callers ask at once", slow(0.6, per_second=100, at_once=14)),
    "MotleyLate": made("passes take 0.2 s, and half of the callers give 0.1 s", late),
    "MotleyTracesLost": made("the collector of traces is away", traces_lost),
    "MotleyNoWorkers": made("both workers are lost", ready(0)),
    "MotleyKeyGuessing": made("40 requests a second with a wrong key", guessing),
    "MotleyRateLimited": made("a key that may ask once a second asks 20 times", too_often),
    "MotleyPadding": made("one text of 61 sub-words among nine of 3", texts(LONG, *["fine a b"] * 9, per_second=10)),
    "MotleyDrift": made("texts are ten times as long", texts(*[LONG] * 5, per_second=10), of="lengths"),
    "MotleyLowConfidence": made(
        "the score of half of the outputs is 0.3", texts(*["fine unsure b"] * 6, per_second=10)
    ),
    "MotleyLabelSurge": made(
        "half of the outputs are `fraud`", texts(*["fraud a b"] * 6, per_second=10), label="fraud"
    ),
    "MotleyNegativeSurge": made("half of the outputs are `negative`", texts(*["negative a b"] * 6, per_second=10)),
    "MotleyDown": made("the endpoint stops", down),
    "MotleyAbsent": made("the endpoint is taken out of Prometheus's targets", not_scraped),
    "MotleyCertificate": made("the certificate ends in 13 days", certificate),
}
BACKGROUND: Sequence[str] = USUAL
