"""`/v1/explain` without a server, of a hand-written explanation."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from pipelines.errors import UserError
from pipelines.inference.api import create_api
from pipelines.inference.aside import BusyError
from pipelines.inference.class_predictor import LabelPredictor, TextOrPair
from pipelines.inference.explain import Explained, Token
from pipelines.inference.faithfulness import Faithfulness
from pipelines.inference.service import Limits
from tests.unit.pipelines.inference.conftest import by_version

JSON = {"Content-Type": "application/json"}
pytestmark = pytest.mark.timeout(30)


async def explain(given: TextOrPair, target: str | int | None, steps: int) -> Explained:
    if target == "unknown":
        raise UserError("There is no such label.")
    if target == "busy":
        raise BusyError
    if target == "broken":
        raise RuntimeError("private")
    token = Token("text", 0, 1, given.text, 0.5)
    return Explained(str(target), 0.75, 0.25, [token], 0.0, steps, Faithfulness(0.5, 0.0, 0.25, 0.25))


async def nobody(inputs: list[Any]) -> list[Any | None]:
    raise AssertionError(f"{len(inputs)} inputs came to the predictor")


def post(body: Any, *, explain: Any = explain) -> httpx.Response:
    async def ask() -> httpx.Response:
        app = create_api(
            by_version(nobody),
            LabelPredictor,
            model="m",
            version=lambda: "1",
            limits=Limits(2, 10),
            key_sha256=None,
            explain=explain,
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/v1/explain", content=json.dumps(body), headers=JSON)

    return asyncio.run(ask())


def test_it_says_what_each_sub_word_does_and_how_far_to_believe_it() -> None:
    assert post({"input": "a", "target": "x", "steps": 16}).json() == {
        "model": "m",
        "version": "1",
        "explanation": {
            "target": "x",
            "score": 0.75,
            "blank_score": 0.25,
            "tokens": [{"field": "text", "start": 0, "end": 1, "text": "a", "attribution": 0.5}],
            "convergence_error": 0.0,
            "steps": 16,
            "faithfulness": {
                "comprehensiveness": 0.5,
                "sufficiency": 0.0,
                "random_comprehensiveness": 0.25,
                "random_sufficiency": 0.25,
            },
        },
    }
    assert post({"input": {"text": "a", "pair": "b"}}).json()["explanation"]["steps"] == 64


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": "a", "target": "unknown"}, 422, "There is no such label."),
        ({"input": "a", "target": "busy"}, 429, "Too many others ask for an explanation already; come back later."),
        ({"input": "a", "target": "broken"}, 500, "The model failed on an explanation."),
        ({"input": "a" * 11}, 413, "Input 0 has 11 characters; cut it into pieces of at most 10."),
        ({"input": "\ud800"}, 422, "Input 0 holds half of a surrogate pair"),
        ({"input": "a", "target": "\ud800"}, 422, "The target holds half of a surrogate pair"),
        ({"input": "a", "steps": 257}, 422, "Send Content-Type: application/json and a body such as"),
        ({"input": ["a"]}, 422, "Send Content-Type: application/json and a body such as"),
    ],
)
def test_what_cannot_be_explained_is_said_in_words(body: Any, status: int, words: str) -> None:
    response = post(body)
    assert response.status_code == status
    assert response.json()["error"].startswith(words)
    assert "private" not in response.text


def test_where_nothing_explains_there_is_no_such_address() -> None:
    response = post({"input": "a"}, explain=None)
    assert response.status_code == 404
    assert response.json() == {"error": "There is nothing at this address; GET /docs shows what there is."}
