"""Masking by every protocol: no reply says more than `/v1/predict` does, and nothing is written down."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.inference.access import Access
from pipelines.inference.api import create_api
from pipelines.inference.audit import logger
from pipelines.inference.chat_turns import in_threads
from pipelines.inference.chat_writer import End, Message, Say
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.explain import Explained, Token
from pipelines.inference.faithfulness import Faithfulness
from pipelines.inference.hiding import Hiding
from pipelines.inference.masking.replacing import unmask
from pipelines.inference.masking.tokens import read_key
from pipelines.inference.predictor import Text
from pipelines.inference.service import Limits
from pipelines.serve_settings import MaskConfig, TracesConfig
from pipelines.traces.traces import Traces
from pipelines.watch.watch import Watch
from tests.collector import Collector, collecting
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(60)

NAME, MAIL, PHONE = "Zebulon Quark", "zq@secret.example", "+49 30 2345678"
TEXT = f"{NAME} writes from {MAIL}."
CHAT, INFER = "/v1/chat/completions", "/v2/models/m/infer"
JSON = {"Content-Type": "application/json"}
PERSONAL = ("Zebulon", "Quark", "zq@", "secret.example", "2345678")


async def answer(inputs: list[Any]) -> list[Any | None]:
    """The name is a person, the address an organisation; it fails where a text says so."""
    found = [Entity("PER", 0, len(NAME), NAME, 0.9), Entity("ORG", TEXT.index(MAIL), len(TEXT) - 1, MAIL, 0.8)]
    if any("crash" in one.text for one in inputs):
        raise RuntimeError(inputs[0].text)
    return [None if "fail" in one.text else Entities(found if one.text == TEXT else []) for one in inputs]


async def explain(given: Text, target: str | int | None, steps: int) -> Explained:
    """By words, and by pieces of the address."""
    if "fail" in given.text:
        raise RuntimeError(given.text)
    pieces = ["Zebulon", "Quark", "writes", "from", "zq", "@secret", ".example", "."]
    tokens, at = [], 0
    for piece in pieces:
        at = given.text.index(piece, at)
        tokens.append(Token("text", at, at + len(piece), piece, 0.125))
        at += len(piece)
    return Explained("PER" if target is None else str(target), 0.9, 0.1, tokens, 0.0, steps, Faithfulness(1, 0, 0, 1))


class Echo:
    """Says what it was told letter by letter, and fails where the text says so."""

    def prompt(self, messages: Sequence[Message], most: int | None) -> tuple[list[int], int]:
        return [ord(letter) for letter in messages[-1]["content"]], most or 9

    def write(self, prompt: Sequence[int], most: int, say: Say) -> End:  # noqa: ARG002
        for letter in prompt:
            say(chr(letter))
        if "fail" in "".join(map(chr, prompt)):
            raise RuntimeError("".join(map(chr, prompt)))
        return End(True, len(prompt) + 1)


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Path]:
    """The audit log's file; what it does to the process's logger is undone."""
    before = logger.handlers[:], logger.propagate, logger.level
    yield tmp_path / "audit.jsonl"
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def traces(collector: Collector) -> Iterator[Traces]:
    """Of every request."""
    # 400 requests come faster than they are sent.
    made = Traces.of(TracesConfig(endpoint=collector.url, sampling_ratio=1), lambda _: None)
    assert made is not None
    yield made
    made.close()


@pytest.fixture
def client(key_file: Path, audit: Path, traces: Traces) -> Iterator[TestClient]:
    app = create_api(
        by_version(answer), EntityPredictor, model="m", version=lambda: "1", limits=Limits(4, 400), key_sha256=None,
        access=Access(audit=str(audit)), hiding=Hiding.of(MaskConfig(key_file=str(key_file))), explain=explain,
        write=in_threads(Echo()), watch=Watch(), traces=traces,
    )  # fmt: skip
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def infer(text: str, mask: Any = None) -> dict[str, Any]:
    body: dict[str, Any] = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    return body if mask is None else {**body, "parameters": {"mask": mask}}


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def bodies(text: str, **mask: Any) -> list[tuple[str, dict[str, Any]]]:
    """A request by every protocol."""
    return [
        ("/v1/predict", {"inputs": text, **mask}),
        (INFER, infer(text, **mask)),
        ("/v1/explain", {"input": text, **mask}),
        (CHAT, chat(text, **mask)),
        (CHAT, chat(text, stream=True, **mask)),
    ]


def streamed(response: Any) -> str:
    events = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    return "".join(one["delta"].get("content", "") for event in events for one in event["choices"])


@pytest.mark.parametrize(
    ("mask", "texts"),
    [
        (None, [NAME, MAIL]),
        (False, [NAME, MAIL]),
        (True, ["[NAME]", "[EMAIL]"]),
        ({"kinds": ["email"]}, [NAME, "[EMAIL]"]),
        ("true", ["[NAME]", "[EMAIL]"]),
        ('{"kinds": ["email"]}', [NAME, "[EMAIL]"]),
    ],
)
def test_tensors_are_masked_by_the_request_s_parameter(client: TestClient, mask: Any, texts: list[str]) -> None:
    outputs = client.post(INFER, json=infer(TEXT, mask)).raise_for_status().json()["outputs"]
    assert [one["text"] for one in json.loads(outputs[0]["data"][0])] == texts


def test_what_is_personal_is_one_sub_word_of_an_explanation_with_all_of_its_share(client: TestClient) -> None:
    found = client.post("/v1/explain", json={"input": TEXT, "mask": True}).raise_for_status().json()["explanation"]
    assert [(one["text"], one["start"], one["end"], one["attribution"]) for one in found["tokens"]] == [
        ("[NAME]", 0, 13, 0.25),
        ("writes", 14, 20, 0.125),
        ("from", 21, 25, 0.125),
        ("[EMAIL]", 26, 43, 0.375),
        (".", 43, 44, 0.125),
    ]
    plain = client.post("/v1/explain", json={"input": TEXT}).json()["explanation"]
    assert [len(plain["tokens"]), sum(one["attribution"] for one in plain["tokens"])] == [8, 1.0]
    only = client.post("/v1/explain", json={"input": TEXT, "mask": {"kinds": ["email"]}}).json()["explanation"]
    assert [one["text"] for one in only["tokens"]] == ["Zebulon", "Quark", "writes", "from", "[EMAIL]", "."]


def test_a_chat_is_masked_whole_or_in_pieces_alike(client: TestClient) -> None:
    text = f"I am {NAME}, {MAIL}, {PHONE}; and so it goes on for a while, without anything of interest."
    expected = text.replace(MAIL, "[EMAIL]").replace(PHONE, "[PHONE]")
    whole = client.post(CHAT, json=chat(text, mask=True)).raise_for_status().json()
    assert whole["choices"][0]["message"]["content"] == expected
    assert streamed(client.post(CHAT, json=chat(text, mask=True, stream=True)).raise_for_status()) == expected
    assert streamed(client.post(CHAT, json=chat(text, stream=True)).raise_for_status()) == text


def test_every_protocol_has_tokens_that_open_with_the_key(client: TestClient, key_file: Path) -> None:
    key = read_key(key_file.read_text())
    for path, body in bodies(TEXT, mask={"kinds": ["email"], "reversible": True}):
        response = client.post(path, json=body).raise_for_status()
        text = streamed(response) if body.get("stream") else response.text
        assert MAIL not in text
        assert MAIL in unmask(text, key)


@pytest.mark.parametrize("mask", [{"kinds": ["Zebulon"]}, {"kinds": []}, {"Zebulon": 1}, "Zebulon", 7])
def test_what_cannot_be_masked_is_refused_alike_and_not_repeated(client: TestClient, mask: Any) -> None:
    for path, body in bodies(TEXT, mask=mask):
        refused = client.post(path, json=body)
        assert (path, refused.status_code) == (path, 422)
        assert not any(one in refused.text for one in PERSONAL)


def test_masked_replies_hold_nothing_personal(client: TestClient) -> None:
    for path, body in bodies(TEXT, mask=True):
        reply = client.post(path, json=body).raise_for_status()
        # Names are what a model tags, and a chat's tags nothing.
        hidden = PERSONAL[2:] if path == CHAT else PERSONAL
        said = streamed(reply) if body.get("stream") else reply.text
        assert [one for one in hidden if one in said] == []


def test_nothing_of_anybody_is_logged_counted_traced_or_written_down(
    client: TestClient,
    audit: Path,
    traces: Traces,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By every way in, masked or not, answered, refused or broken, under every logger's eyes."""
    caplog.set_level(logging.DEBUG)
    codes = set()
    for mask in ({}, {"mask": True}, {"mask": {"reversible": True}}, {"mask": TEXT}, {"mask": {"kinds": [NAME]}}):
        for text in (TEXT, f"{TEXT} fail", f"{TEXT} crash", f"{TEXT} {PHONE} \ud800", TEXT * 20):
            for path, body in bodies(text, **mask):
                codes.add(client.post(path, content=json.dumps(body), headers=JSON).status_code)
    for path in ("/v1/predict", INFER, "/v1/explain", CHAT, f"/v2/models/{NAME}/infer", f"/{MAIL}?{PHONE}"):
        for content in (TEXT, json.dumps(TEXT), json.dumps({"inputs": {MAIL: PHONE}, "input": NAME, NAME: [TEXT]})):
            codes.add(client.post(path, content=content, headers=JSON | {"tracestate": f"a={NAME}"}).status_code)
    assert codes == {200, 404, 413, 422, 500}
    assert "motley_requests_total" in client.get("/metrics").raise_for_status().text
    texts = [client.get(path).text for path in ("/metrics", "/v1/about", "/openapi.json", "/v1/models", "/v2/models/m")]
    printed = capfd.readouterr()
    traces.flush()
    assert {"POST /v1/predict", f"POST {CHAT}", "answer", "mask"} <= {span.name for span in collector.spans}
    texts += [audit.read_text(), printed.out, printed.err, collector.raw.decode("latin-1")]
    # The client's own logger names the addresses that this test asks.
    records = [record for record in caplog.records if not record.name.startswith("httpx")]
    texts += [f"{record.getMessage()} {vars(record)}" for record in records]
    assert {"The model failed: RuntimeError.", "The model failed on a chat: RuntimeError."} <= {
        record.getMessage() for record in records
    }
    assert len(audit.read_text().splitlines()) == 5 * 5 * 5 + 6 * 3 + 6
    assert [(one, text[:200]) for text in texts for one in PERSONAL if one in text] == []
