"""Traces of requests: through the interface, the batcher and a worker's models, to a collector over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pipelines.inference.api import create_api
from pipelines.inference.audit import logger as audit
from pipelines.inference.batcher import Batcher
from pipelines.inference.credentials import hash_key
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.groups import Computed, Group, WorkerLost
from pipelines.inference.holder import Holder, Loaded
from pipelines.inference.pass_cost import UNMEASURED
from pipelines.inference.service import Limits
from pipelines.serve_settings import TracesConfig
from pipelines.traces.spans import Traced
from pipelines.traces.traces import Traces
from tests.collector import Collector, collecting
from tests.unit.pipelines.inference.conftest import by_version, make_model_folder

pytestmark = pytest.mark.timeout(120)

KEY, SECRET = "Kq9-a-key", "Xq7confidential"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEPT, NOT_KEPT = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
PREDICT = "/v1/predict"


def lost(_: int) -> None:
    raise AssertionError("a span was dropped")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("traces") / "tiny")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


class Endpoint:
    """The front's part and the worker's, each with spans of its own, as in processes of their own."""

    def __init__(
        self, folder: Path, url: str, *, ratio: float = 0.0, dropped: Any = lost, losses: int = 0, answer: Any = None
    ) -> None:
        """
        Args:
            url: of the collector.
            losses: passes whose worker ends.
            answer: in the place of the batcher's.
        """
        settings = TracesConfig(endpoint=url, sampling_ratio=ratio)
        traces, on_worker = Traces.of(settings, dropped), Traces.of(settings, dropped)
        assert traces is not None
        assert on_worker is not None
        self.traces, self._losses = (traces, on_worker), losses
        holder = Holder(lambda uri: Loaded(EntityPredictor.load(Path(uri), threads=1)), name="w0", traces=on_worker)

        async def run(inputs: list[Any], traceparents: tuple[str, ...]) -> Computed:
            if self._losses:
                self._losses -= 1
                raise WorkerLost
            return await holder.compute(str(folder), inputs, Traced("7", traceparents))

        batcher = Batcher([Group(run, UNMEASURED)], most=8, wait=0, patience=60)
        self.app = create_api(
            by_version(answer or batcher.answer, "7"), EntityPredictor, model="m", version=lambda: "7",
            limits=Limits(8, 100), key_sha256=hash_key(KEY), traces=traces,
        )  # fmt: skip

    def ask(self, *bodies: Any, path: str = PREDICT, **headers: str) -> list[httpx.Response]:
        """Requests that come together; returns when their spans have been sent."""

        async def all_of_them() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            given = {"Authorization": f"Bearer {KEY}"} | headers
            async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=given) as client:
                return list(await asyncio.gather(*(client.post(path, json=body) for body in bodies)))

        found = asyncio.run(all_of_them())
        for traces in self.traces:
            traces.flush()
        return found


MakeEndpoint = Callable[..., Endpoint]


@pytest.fixture
def make_endpoint(folder: Path, collector: Collector) -> Iterator[MakeEndpoint]:
    """Makes one for a test, before the test's own collector if nothing else is said."""
    made = list[Endpoint]()

    def make(url: str = collector.url, **settings: Any) -> Endpoint:
        made.append(Endpoint(folder, url, **settings))
        return made[-1]

    yield make
    for endpoint in made:
        for traces in endpoint.traces:
            traces.close()


@pytest.fixture
def endpoint(make_endpoint: MakeEndpoint) -> Endpoint:
    """Keeps the traces of callers alone."""
    return make_endpoint()


def test_a_request_continues_its_caller_s_trace_from_the_door_to_the_worker_and_back(
    endpoint: Endpoint, collector: Collector
) -> None:
    [answer] = endpoint.ask({"inputs": ["Ann moved to Berlin.", "Oslo"]}, traceparent=KEPT)
    assert answer.status_code == 200
    spans = collector.of(TRACE)
    server = spans.pop(f"POST {PREDICT}")
    assert server.parent == SPAN
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{server.span}-01"
    assert {*spans} == {"admission", "queue", "tokenise", "pass", "answer"}
    assert {span.parent for span in spans.values()} == {server.span}
    order = [spans[name] for name in ("admission", "queue", "tokenise", "pass", "answer")]
    assert [span.begin for span in order] == sorted(span.begin for span in order)
    assert all(server.begin <= span.begin <= span.end <= server.end for span in order)
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": PREDICT,
        "http.response.status_code": 200,
        "motley.inputs": 2,
        "motley.characters": 24,
    }
    told = spans["pass"].attributes
    assert told.pop("motley.padded_subwords") > 2 * len("Ann moved")
    assert told == {"motley.model.version": "7", "motley.worker": "w0", "motley.rows": 2}


def test_requests_that_share_a_pass_have_it_in_each_of_their_traces(
    make_endpoint: MakeEndpoint, collector: Collector
) -> None:
    answers = make_endpoint(ratio=1).ask({"inputs": "a"}, {"inputs": "b"}, {"inputs": "c"})
    traces = [answer.headers["traceresponse"].split("-")[1] for answer in answers]
    assert len({*traces}) == 3
    passes = [collector.of(trace)["pass"] for trace in traces]
    assert [span.attributes["motley.rows"] for span in passes] == [3, 3, 3]
    assert len({span.begin for span in passes}) == 1


def test_a_pass_that_was_given_to_another_worker_waited_twice(
    make_endpoint: MakeEndpoint, collector: Collector
) -> None:
    make_endpoint(losses=1).ask({"inputs": "a"}, traceparent=KEPT)
    assert sorted(span.name for span in collector.spans if span.name in ("queue", "pass")) == ["pass", "queue", "queue"]


@pytest.mark.parametrize("headers", [{}, {"traceparent": NOT_KEPT}, {"traceparent": f"00-{SECRET}-01"}])
def test_what_is_not_sampled_is_not_sent_and_has_an_id_all_the_same(
    endpoint: Endpoint, collector: Collector, headers: dict[str, str]
) -> None:
    [answer] = endpoint.ask({"inputs": "a"}, **headers)
    version, trace, _, flags = answer.headers["traceresponse"].split("-")
    # The last bit: kept.
    assert (version, len(trace), int(flags, 16) & 1) == ("00", 32, 0)
    assert (trace == TRACE) == (NOT_KEPT in headers.values())
    assert collector.spans == []


def test_the_id_is_in_the_audit_line_and_in_what_is_said_of_a_problem(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "propagate", True)
    caplog.set_level(logging.INFO, audit.name)
    refused = endpoint.ask({"inputs": "a"}, traceparent=KEPT, Authorization="Bearer wrong")
    refused += endpoint.ask({"inputs": 1}, ["no question"], traceparent=KEPT)
    assert [(one.status_code, one.json()["trace"]) for one in refused] == [(401, TRACE), (422, TRACE), (422, TRACE)]
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == audit.name]
    assert [line["trace"] for line in lines] == [TRACE] * 3


def test_what_callers_choose_is_in_no_span(endpoint: Endpoint, collector: Collector) -> None:
    headers = {"traceparent": KEPT, "tracestate": f"a={SECRET}", "baggage": f"a={SECRET}", "X-Request-ID": SECRET}
    for path in (PREDICT, f"/{SECRET}?{SECRET}", f"/v2/models/{SECRET}/infer"):
        endpoint.ask({"inputs": SECRET}, {"inputs": SECRET, SECRET: 1}, path=path, **headers)
    endpoint.ask({"inputs": SECRET}, Authorization=f"Bearer {SECRET}", traceparent=KEPT)
    assert sum(span.name.startswith("POST") for span in collector.spans) == 7
    assert [word for word in (SECRET, KEY, hash_key(KEY)) if word.encode() in collector.raw] == []


def test_a_failure_is_told_by_its_kind_alone(make_endpoint: MakeEndpoint, collector: Collector) -> None:
    async def fail(_: list[Any]) -> list[Any]:
        raise RuntimeError(SECRET)

    [answer] = make_endpoint(answer=fail).ask({"inputs": "a"}, traceparent=KEPT)
    server = collector.of(TRACE)[f"POST {PREDICT}"]
    assert (answer.status_code, server.failed, server.attributes["error.type"]) == (500, True, "500")
    assert SECRET.encode() not in collector.raw


def test_a_dead_collector_changes_nothing_but_a_count(make_endpoint: MakeEndpoint) -> None:
    dropped = list[int]()
    with socket.socket() as deaf:
        # Bound, so that nobody else is; not listening, so that whoever comes is refused.
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1/traces"
        answers = make_endpoint(url, ratio=1, dropped=dropped.append).ask({"inputs": "Ann"}, {"inputs": 1})
    assert [answer.status_code for answer in answers] == [200, 422]
    # Four of the first and two of the second on the front, and two on the worker.
    assert sum(dropped) == 8


class Stuck(SpanExporter):
    """A collector that takes its time."""

    def __init__(self) -> None:
        self.go, self.number = threading.Event(), 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.go.wait(60)
        self.number += len(spans)
        return SpanExportResult.SUCCESS


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits_for_it() -> None:
    dropped = list[int]()
    stuck = Stuck()
    traces = Traces(stuck, ratio=1, dropped=dropped.append, most=3)
    for _ in range(5):
        with traces.request(""):
            pass
    assert dropped == [1, 1]
    stuck.go.set()
    traces.close()
    assert stuck.number == 3


def test_without_the_setting_there_are_no_traces() -> None:
    assert Traces.of(None, lost) is None
