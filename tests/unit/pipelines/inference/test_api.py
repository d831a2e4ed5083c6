"""The HTTP interface without a server: requests go straight into the application."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pipelines.inference.api import Limits, create_api
from pipelines.inference.entities import Entity
from pipelines.inference.guard import hash_key

pytestmark = pytest.mark.timeout(30)

ENTITY = Entity("LOC", 0, 4, "Oslo", 0.5)


async def answer(texts: list[str]) -> list[list[Entity] | None]:
    """Finds Oslo, and fails on "bad"."""
    return [None if text == "bad" else [ENTITY] if text.startswith("Oslo") else [] for text in texts]


def post(body: Any, *, key: str | None = None, headers: dict[str, str] | None = None, **request: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        limits = Limits(max_texts=2, max_characters=10)
        app = create_api(answer, model="m", version="1", limits=limits, key_sha256=key and hash_key(key))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/predict", json=body, headers=headers, **request)

    return asyncio.run(ask())


def test_one_text_and_several() -> None:
    entity = {"type": "LOC", "start": 0, "end": 4, "text": "Oslo", "score": 0.5}
    assert post({"text": "Oslo."}).json() == {"model": "m", "version": "1", "entities": [entity]}
    assert post({"text": ["", "Oslo."]}).json()["entities"] == [[], [entity]]
    assert post({"text": []}).json()["entities"] == []


def test_the_failing_text_is_named_by_its_number() -> None:
    response = post({"text": ["Oslo", "bad"]})
    assert response.status_code == 500
    assert response.json() == {"error": "The model failed on text 1 (counted from 0); leave it out."}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_key_opens(scheme: str) -> None:
    assert post({"text": ""}, key="k", headers={"Authorization": f"{scheme} k"}).status_code == 200
    assert post({"text": ""}, key="k", headers={"Authorization": f"{scheme} K"}).status_code == 401
    assert post({"text": ""}, key="k").status_code == 401


def test_without_a_key_everyone_may_ask() -> None:
    assert post({"text": ""}).status_code == 200


@pytest.mark.parametrize(
    "body", [{"text": 17}, {"texts": "private"}, {"text": "a", "private": 1}, ["private"], "private"]
)
def test_a_wrong_question_is_not_repeated(body: Any) -> None:
    response = post(body)
    assert response.status_code == 422
    assert response.json()["error"].startswith('Send Content-Type: application/json and {"text": "..."}')
    assert "private" not in response.text


@pytest.mark.parametrize("max_texts", [1, 10**6])
def test_the_largest_body_holds_one_longest_text_whatever_its_escapes(max_texts: int) -> None:
    limits = Limits(max_texts, max_characters=20_000)
    assert len('{"text": "' + "\\ud83d\\ude00" * 20_000 + '"}') < limits.max_bytes < 2**25
