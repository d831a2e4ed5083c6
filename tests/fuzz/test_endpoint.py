"""The endpoint of every task, with a tiny model behind it: whatever it is sent, it answers or refuses in words.

Bodies of any JSON, good bodies with something odd in their middle, damaged ones, and what schemathesis makes of the
endpoint's own description.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipelines.inference.api import create_api
from pipelines.inference.chat_turns import in_threads
from pipelines.inference.explain_api import in_turn
from pipelines.inference.predictor import Predictor, num_characters
from pipelines.inference.predictors import PREDICTORS, load_predictor
from pipelines.inference.rescue import each
from pipelines.inference.service import Limits
from tests.fuzz.damage import damaged, damages
from tests.fuzz.trial import CASES, RAW, Trial, fuzzed
from tests.unit.pipelines.inference.conftest import by_version
from tests.unit.pipelines.inference.test_every_predictor import saved

SHARE = max(10, CASES // len(PREDICTORS))
"""Of the cases of a kind, for each task's endpoint."""
CODES = {200, 400, 404, 413, 422, 429}
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance,
]  # fmt: skip
ODD_TEXTS = (
    "",
    "\0",
    "\ud800",
    "\U0001f600",
    "北京",
    "[MASK]" * 3,
    "<|im_start|>",
    "[SEP]",
    "a" * 300,
    "\u202e",
    "{{ 1 }}",
)
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=20))
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from([2**63, -1, 10**400]), st.floats(), TEXTS,
        st.sampled_from(["text", "m", "user"]),
    ),
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(["text", "inputs", "name", "data"]), TEXTS), inside, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip


def app_of(predictor: Predictor) -> FastAPI:
    async def answer(inputs: list[Any]) -> list[Any | None]:
        return await asyncio.to_thread(each, predictor.predict, inputs, num_characters)

    explainer, writer = predictor.explainer(), predictor.writer()
    return create_api(
        by_version(answer),
        type(predictor),
        model="m",
        version=lambda: "1",
        limits=Limits(max_inputs=4, max_characters=200),
        key_sha256=None,
        explain=None if explainer is None else in_turn(explainer),
        write=None if writer is None else in_threads(writer),
    )


@pytest.fixture(scope="module", params=PREDICTORS)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return app_of(load_predictor(saved(request.param, tmp_path_factory.mktemp("model")), threads=1))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """One line for every request says nothing here."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    yield
    logging.getLogger("httpx").setLevel(logging.NOTSET)


def good_bodies(app: FastAPI) -> dict[str, Any]:
    """By path, a body that is answered."""
    about = send(app, "/v1/about").json()
    example = about["example"]["input"]
    bodies = {"/v1/predict": {"inputs": [example, example]}}
    named = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "INT64", "data": [value]}
        for name, value in example.items()
    ]
    bodies["/v2/models/m/infer"] = {"id": "1", "inputs": named}
    if about["explains"]:
        bodies["/v1/explain"] = {"input": example, "target": None, "steps": 8}
    if "/v1/chat/completions" in app.openapi()["paths"]:
        said = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "a"}]
        bodies["/v1/chat/completions"] = {"model": "m", "messages": said, "max_tokens": 3, "stream": True}
    return bodies


def send(app: FastAPI, path: str, body: bytes | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            if body is None:
                return await client.get(path)
            return await client.post(path, content=body, headers={"Content-Type": "application/json"})

    return asyncio.run(ask())


def check(app: FastAPI, path: str, body: bytes, trial: Trial) -> None:
    response = send(app, path, body)
    trial.counts.setdefault(f"POST {path}", [0, 0])[response.status_code != 200] += 1
    assert response.status_code in CODES, response.text
    assert not RAW.search(response.text.split('"outputs"')[0]) or response.status_code == 200, response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in response.text
        return
    answer = response.json()
    if response.status_code == 200:
        assert "error" not in answer
        return
    said = answer["error"]["message"] if path.startswith("/v1/chat/") else answer["error"]
    assert isinstance(said, str)
    assert said.strip()


def put(body: Any, way: list[int], odd: Any) -> Any:
    """The body with something odd in one place: the way leads there, a number for each level."""
    if not way or not isinstance(body, dict | list) or not body:
        return odd
    if isinstance(body, list):
        at = way[0] % len(body)
        return [put(one, way[1:], odd) if i == at else one for i, one in enumerate(body)]
    name = list(body)[way[0] % len(body)]
    return {**body, name: put(body[name], way[1:], odd)}


def test_any_json_is_answered_or_refused(app: FastAPI, trial: Trial) -> None:
    paths = list(good_bodies(app))

    @partial(fuzzed, cases=SHARE)
    @given(st.sampled_from(paths), JSON)
    def run(path: str, body: Any) -> None:
        check(app, path, json.dumps(body).encode(), trial)

    run()


def test_good_bodies_are_answered_and_ones_with_something_odd_inside_or_refused(app: FastAPI, trial: Trial) -> None:
    bodies = good_bodies(app)
    for path, body in bodies.items():
        assert send(app, path, json.dumps(body).encode()).status_code == 200, path

    @partial(fuzzed, cases=SHARE)
    @given(st.sampled_from(list(bodies)), st.lists(st.integers(0, 7), min_size=1, max_size=5), JSON)
    def run(path: str, way: list[int], odd: Any) -> None:
        check(app, path, json.dumps(put(bodies[path], way, odd)).encode(), trial)

    run()


def test_damaged_bodies_are_answered_or_refused(app: FastAPI, trial: Trial) -> None:
    bodies = good_bodies(app)

    @partial(fuzzed, cases=SHARE)
    @given(st.sampled_from(list(bodies)), damages())
    def run(path: str, harm: Any) -> None:
        check(app, path, damaged(json.dumps(bodies[path]).encode(), harm), trial)

    run()


def test_the_endpoint_is_as_it_describes_itself(app: FastAPI, trial: Trial) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for found in schema.get_all_operations():
        operation = found.ok()
        cases = st.one_of(*(operation.as_strategy(mode) for mode in GenerationMode))

        @given(cases)
        def run(case: Any) -> None:
            response = case.call_and_validate(checks=CHECKS)
            trial.counts.setdefault(case.operation.label, [0, 0])[response.status_code != 200] += 1

        # An endpoint has a dozen operations.
        fuzzed(run, max(1, SHARE // 8))()
