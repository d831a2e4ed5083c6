"""The endpoint, asked over real HTTP."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import ray
from ray import serve

from cluster.front import Front
from cluster.lanes import Served
from cluster.serve_options import ServeOptions
from cluster.serving import build
from cluster.worker import FRONT, Worker
from pipelines.errors import UserError
from pipelines.inference.client import predict_once, wait_until_ready
from pipelines.inference.credentials import hash_key
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from pipelines.serve_settings import ServeConfig, TracesConfig
from tests.collector import Collector, collecting
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = pytest.mark.timeout(180)

KEY = "a-key-for-tests"
SECRET = "Xq7confidential"
TEXTS = ["John moved to 北京 😀.", "", "Berlin", "a b c d e f"]
APP = "test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("serving") / "tiny")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def url(ray_session: None, folder: Path, collector: Collector) -> Iterator[str]:  # noqa: ARG001
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ServeOptions(
        model=str(folder),
        tracking_uri=None,
        key_sha256=hash_key(KEY),
        # Long enough for requests that start together to meet.
        settings=ServeConfig(
            max_batch_size=8,
            batch_wait_ms=200,
            max_inputs=16,
            max_characters=100,
            traces=TracesConfig(endpoint=collector.url, sampling_ratio=0),
        ),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(options), name=APP)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def served() -> Served:
    answer: Served = serve.get_app_handle(APP).served.remote().result(timeout_s=30)
    return answer


def test_it_answers_what_the_predictor_says(url: str, folder: Path) -> None:
    ready = wait_until_ready(url)
    assert (ready.model, ready.version) == ("tiny", "local")
    expected = EntityPredictor.load(folder, threads=1).predict([Text(text) for text in TEXTS])
    answered = predict_once(url, KEY, TEXTS)
    assert [[(e["type"], e["start"], e["end"], e["text"]) for e in row["entities"]] for row in answered] == [
        [(e.type, e.start, e.end, e.text) for e in row.entities] for row in expected
    ]


def test_one_input_gets_one_output(client: httpx.Client) -> None:
    one = client.post("/v1/predict", json={"inputs": TEXTS[0]}).raise_for_status().json()
    many = client.post("/v1/predict", json={"inputs": [TEXTS[0]]}).raise_for_status().json()
    assert one == {"model": "tiny", "version": "local", "outputs": many["outputs"][0]}
    assert one["outputs"]["entities"]
    for entity in one["outputs"]["entities"]:
        assert entity["text"] == TEXTS[0][entity["start"] : entity["end"]]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", KEY, f"Basic {KEY}", "Bearer \xff"])
def test_without_the_key_nothing_is_read(url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = httpx.post(f"{url}/v1/predict", headers=headers, content=b"not even JSON", trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(answer.headers.get_list("X-Request-ID")) == 1
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Bearer KEY" in answer.json()["error"]


def test_unknown_paths_are_closed_too(url: str, client: httpx.Client) -> None:
    assert httpx.get(f"{url}/nothing", trust_env=False).status_code == 401
    assert client.get("/nothing").status_code == 404


def test_a_wrong_key_is_named_in_the_client(url: str) -> None:
    with pytest.raises(UserError, match="401, Send the endpoint's key"):
        predict_once(url, "wrong", ["x"])


def test_health_and_documentation_need_no_key(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert client.get("/healthz").json() == {"status": "ok", "model": "tiny", "version": "local"}
        assert client.get("/docs").status_code == 200
        assert "page.js" in client.get("/").text
        assert client.get("/v2/health/ready").json() == {"ready": True}
        description = client.get("/openapi.json").json()
    predict = description["paths"]["/v1/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "401", "403", "413", "422", "429", "500", "503", "504"}
    assert predict["security"] == [{"HTTPBearer": []}]
    assert description["components"]["schemas"]["Question"]["examples"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        SECRET.encode(),
        b'{"input": "x"}',
        b'{"inputs": 3}',
        b'{"inputs": ["x", null]}',
        b'{"inputs": "x", "%s": 1}' % SECRET.encode(),
        b'{"inputs": "\\ud800"}',
        b"\xff",
    ],
)
def test_what_is_no_question_is_told_how_to_ask(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error", "trace"}
    assert SECRET not in answer.text


def test_too_much_is_refused_with_the_limit(client: httpx.Client) -> None:
    assert client.post("/v1/predict", json={"inputs": ["x"] * 16}).status_code == 200
    many = client.post("/v1/predict", json={"inputs": ["x"] * 17})
    assert many.status_code == 413
    assert many.json()["error"] == "17 inputs in one request; send at most 16 and repeat."
    long = client.post("/v1/predict", json={"inputs": ["x", "y" * 101]})
    assert long.status_code == 413
    assert long.json()["error"] == "Input 1 has 101 characters; cut it into pieces of at most 100."


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_not_read_to_its_end(client: httpx.Client, chunked: bool) -> None:
    body = json.dumps({"inputs": "x" * 100_000}).encode()
    content = iter([body[:50_000], body[50_000:]]) if chunked else body
    answer = client.post("/v1/predict", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "bytes" in answer.json()["error"]


def test_an_entity_is_explained_and_another_protocol_says_the_same(client: httpx.Client) -> None:
    [first, *_] = client.post("/v1/predict", json={"inputs": TEXTS[0]}).json()["outputs"]["entities"]
    found = client.post("/v1/explain", json={"input": TEXTS[0], "steps": 8}).raise_for_status().json()["explanation"]
    assert (found["target"], found["score"]) == (first["type"], pytest.approx(first["score"], abs=1e-5))
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXTS[0]]}
    reply = client.post("/v2/models/tiny/infer", json={"inputs": [tensor]}).raise_for_status().json()
    assert json.loads(reply["outputs"][0]["data"][0])[0]["text"] == first["text"]


def test_requests_that_come_together_share_a_pass(client: httpx.Client) -> None:
    before = served()
    texts = [f"Text {i} of Berlin" for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: client.post("/v1/predict", json={"inputs": text}).json(), texts))
    after = served()
    assert after.num_inputs - before.num_inputs == 16
    assert after.num_passes - before.num_passes < 16
    for text, answer in zip(texts, answers, strict=True):
        entities = answer["outputs"]["entities"]
        assert all(entity["text"] == text[entity["start"] : entity["end"]] for entity in entities)


def test_a_trace_goes_from_the_front_to_the_worker(client: httpx.Client, collector: Collector) -> None:
    answer = client.post("/v1/predict", json={"inputs": TEXTS}, headers={"traceparent": kept(0)}).raise_for_status()
    client.post("/v1/explain", json={"input": TEXTS[0], "steps": 8}, headers={"traceparent": kept(1)})
    spans = collector.wait_for(f"{0:031x}a", "POST /v1/predict", "admission", "queue", "tokenise", "pass", "answer")
    server = spans.pop("POST /v1/predict")
    assert answer.headers["traceresponse"] == f"00-{server.trace}-{server.span}-01"
    assert {span.parent for span in spans.values()} == {server.span}
    assert spans["pass"].attributes["motley.rows"] == len(TEXTS)
    assert spans["pass"].attributes["motley.model.version"] == "local"
    explained = collector.wait_for(f"{1:031x}a", "POST /v1/explain", "admission", "explain")
    assert explained["explain"].parent == explained["POST /v1/explain"].span


def test_an_answer_that_comes_too_late_is_none(client: httpx.Client) -> None:
    late = client.post("/v1/predict", json={"inputs": TEXTS}, headers={"Request-Timeout": "1e-6"})
    assert late.status_code == 504
    assert "1e-06 s that this request had" in late.json()["error"]


def kept(number: int) -> str:
    """Of a caller who keeps the trace."""
    return f"00-{number:031x}a-{'b' * 16}-01"


def test_no_log_metric_or_trace_holds_a_text(client: httpx.Client, collector: Collector) -> None:
    client.headers["traceparent"] = kept(2)
    client.post("/v1/predict", json={"inputs": f"{SECRET} lives in Berlin"}).raise_for_status()
    client.post("/v1/predict", json={"inputs": [SECRET], SECRET: 1})
    client.post("/v1/predict", content=SECRET.encode())
    client.post(f"/v1/predict?text={SECRET}", json={"inputs": SECRET * 100})
    client.post(f"/{SECRET}", json={"inputs": "x"}, headers={"tracestate": f"a={SECRET}"})
    collector.wait_for(f"{2:031x}a", "POST /v1/predict", "POST", "pass")
    counted = client.get("/metrics").raise_for_status().content
    assert [one for one in (SECRET, KEY) if one.encode() in collector.raw + counted] == []
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())  # No public name for the folder of the logs.
    files = [path for path in logs.rglob("*") if path.is_file()]
    assert {"Endpoint", "Worker"} <= {path.name.split("_")[2] for path in files if path.name.startswith("replica_")}
    assert not [path for path in files if SECRET.encode() in path.read_bytes() or KEY.encode() in path.read_bytes()]


class Talkative(Front):
    """A front in which a library writes down what it should not."""

    async def talk(self, text: str) -> None:
        logging.getLogger("ray.serve").warning("asked for %s", text)


def test_what_a_replica_logs_is_masked(url: str, folder: Path) -> None:  # noqa: ARG001  Ray Serve runs
    options = ServeOptions(model=str(folder), tracking_uri=None, key_sha256=None)
    worker = serve.deployment(name="Worker", ray_actor_options={"num_cpus": 0.5})(Worker).bind(options, 0)
    deployment = serve.deployment(name=FRONT, ray_actor_options={"num_cpus": 0})(Talkative)
    handle = serve.run(deployment.bind(options, [worker]), name="talkative", route_prefix=None)
    handle.talk.remote("ann.lee@example.org").result(timeout_s=30)
    serve.delete("talkative")
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    written = b"".join(path.read_bytes() for path in logs.rglob("*") if path.is_file())
    assert b"asked for [EMAIL]" in written
    assert b"ann.lee@example.org" not in written
