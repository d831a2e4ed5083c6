"""The HTTP interface without a server: requests go straight into the application."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pipelines.inference.api import create_api
from pipelines.inference.class_predictor import Label, LabelPredictor, TextOrPair
from pipelines.inference.credentials import hash_key
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.media_predictor import PIXEL, ImageFile, ImagePredictor
from pipelines.inference.predictor import Predictor, Text
from pipelines.inference.service import Limits
from pipelines.inference.text_predictor import ChatPredictor
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(30)

ENTITY = Entity("LOC", 0, 4, "Oslo", 0.5)


async def find(inputs: list[Text]) -> list[Entities | None]:
    """Finds Oslo, and fails on "bad"."""
    return [
        None if given.text == "bad" else Entities([ENTITY] if given.text.startswith("Oslo") else []) for given in inputs
    ]


async def compare(inputs: list[TextOrPair]) -> list[Label]:
    return [Label("same" if given.text == given.pair else "other", 1.0, {}) for given in inputs]


def post(
    body: Any,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    answer: Any = find,
    predictor: type[Predictor] = EntityPredictor,
    **request: Any,
) -> httpx.Response:
    async def ask() -> httpx.Response:
        limits = Limits(max_inputs=2, max_characters=10)
        app = create_api(
            by_version(answer),
            predictor,
            model="m",
            version=lambda: "1",
            limits=limits,
            key_sha256=key and hash_key(key),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/v1/predict", json=body, headers=headers, **request)

    return asyncio.run(ask())


def test_one_input_and_several() -> None:
    found = {"entities": [{"type": "LOC", "start": 0, "end": 4, "text": "Oslo", "score": 0.5}]}
    assert post({"inputs": "Oslo."}).json() == {"model": "m", "version": "1", "outputs": found}
    assert post({"inputs": {"text": "Oslo."}}).json()["outputs"] == found
    assert post({"inputs": ["", {"text": "Oslo."}]}).json()["outputs"] == [{"entities": []}, found]
    assert post({"inputs": []}).json()["outputs"] == []


def test_an_input_may_have_a_second_text() -> None:
    body = {"inputs": [{"text": "a", "pair": "a"}, {"text": "a"}]}
    outputs = post(body, answer=compare, predictor=LabelPredictor).json()["outputs"]
    assert [output["label"] for output in outputs] == ["same", "other"]
    assert post({"inputs": {"pair": "a"}}, answer=compare, predictor=LabelPredictor).status_code == 422


def test_all_texts_of_an_input_count_for_its_length() -> None:
    response = post({"inputs": {"text": "a" * 6, "pair": "b" * 6}}, answer=compare, predictor=LabelPredictor)
    assert response.status_code == 413
    assert response.json() == {"error": "Input 0 has 12 characters; cut it into pieces of at most 10."}


async def look(inputs: list[ImageFile]) -> list[Label]:
    return [Label("dark", 1.0, {}) for _ in inputs]


def test_a_file_s_length_is_no_text_s_and_one_that_is_no_image_is_refused_in_words() -> None:
    body = {"inputs": {"image": PIXEL}}
    assert post(body, answer=look, predictor=ImagePredictor).json()["outputs"]["label"] == "dark"
    response = post({"inputs": [{"image": PIXEL}, {"image": "AAAA"}]}, answer=look, predictor=ImagePredictor)
    assert response.status_code == 422
    assert response.json()["error"].startswith("Input 1: the input: the image cannot be read")


@pytest.mark.parametrize("most", [0, 1025, "x"])
def test_more_new_sub_words_than_there_may_be_are_refused(most: Any) -> None:
    body = {"inputs": {"text": "a", "max_new_tokens": most}}
    assert post(body, answer=look, predictor=ChatPredictor).status_code == 422


def test_half_a_surrogate_pair_is_refused() -> None:
    headers = {"Content-Type": "application/json"}
    response = post(None, headers=headers, content=b'{"inputs": ["a", "\\ud800"]}')
    assert response.status_code == 422
    assert response.json()["error"].startswith("Input 1 holds half of a surrogate pair")


def test_the_failing_input_is_named_by_its_number() -> None:
    response = post({"inputs": ["Oslo", "bad"]})
    assert response.status_code == 500
    assert response.json() == {"error": "The model failed on input 1 (counted from 0); leave it out."}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_key_opens(scheme: str) -> None:
    assert post({"inputs": ""}, key="k", headers={"Authorization": f"{scheme} k"}).status_code == 200
    assert post({"inputs": ""}, key="k", headers={"Authorization": f"{scheme} K"}).status_code == 401
    assert post({"inputs": ""}, key="k").status_code == 401


def test_without_a_key_everyone_may_ask() -> None:
    assert post({"inputs": ""}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": 17},
        {"input": "private"},
        {"inputs": "a", "private": 1},
        {"inputs": {"text": "a", "private": 1}},
        ["private"],
        "private",
    ],
)
def test_a_wrong_question_is_not_repeated(body: Any) -> None:
    response = post(body)
    assert response.status_code == 422
    assert response.json()["error"].startswith("Send Content-Type: application/json and a body such as")
    assert "private" not in response.text


@pytest.mark.parametrize("max_inputs", [1, 10**6])
def test_the_largest_body_holds_one_longest_input_whatever_its_escapes(max_inputs: int) -> None:
    limits = Limits(max_inputs, max_characters=20_000)
    assert len('{"inputs": "' + "\\ud83d\\ude00" * 20_000 + '"}') < limits.max_bytes(media=False) < 2**25
    assert 2**24 < limits.max_bytes(media=True) < 2**25
