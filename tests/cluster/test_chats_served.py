"""A chat that a worker writes and a front passes on, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.config import Config
from pipelines.inference.predictors import load_predictor
from pipelines.inference.text_predictor import Prompt
from pipelines.serve_settings import ServeConfig
from tests.cluster.loads import served
from tests.unit.pipelines.inference.test_every_predictor import saved

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

CHAT, TEXT = "/v1/chat/completions", "Where is Ann?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved("causal-lm", tmp_path_factory.mktemp("model")))


@pytest.fixture
def client(model: str) -> Iterator[httpx.Client]:
    with (
        served(model, Config(serve=ServeConfig(port=0, auth="none"))) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield client


def test_chats_are_written_streamed_refused_and_left(client: httpx.Client, model: str) -> None:
    name = client.get("/v1/models").json()["data"][0]["id"]
    asked = {"model": name, "messages": [{"role": "user", "content": TEXT}], "max_tokens": 20}
    [written] = load_predictor(Path(model), threads=1).predict([Prompt(TEXT, 20)])
    assert client.post(CHAT, json=asked).json()["choices"][0]["message"]["content"] == written.text
    with client.stream("POST", CHAT, json={**asked, "stream": True}) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    pieces = [one["choices"][0]["delta"].get("content", "") for one in events]
    assert "".join(pieces) == written.text
    assert sum(map(bool, pieces)) > 1
    long = client.post(CHAT, json={**asked, "messages": [{"role": "user", "content": "it rains " * 2000}]})
    assert long.status_code == 422
    assert "send fewer or shorter messages" in long.json()["error"]["message"]
    # Who goes away in the middle leaves the others an endpoint.
    with client.stream("POST", CHAT, json={**asked, "stream": True}) as answer:
        next(answer.iter_lines())
    assert client.post(CHAT, json=asked).json()["choices"][0]["message"]["content"] == written.text
