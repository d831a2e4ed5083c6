"""Personal data masked in answers, as requests ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.errors import UserError
from pipelines.inference.api import create_api
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.hiding import Hiding
from pipelines.inference.masking.replacing import unmask
from pipelines.inference.masking.tokens import read_key
from pipelines.inference.service import Limits
from pipelines.serve_settings import MaskConfig
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(60)

TEXT = "Ann Lee writes from ann@example.org."


async def answer(inputs: list[Any]) -> list[Any | None]:
    """Ann Lee is a person, and her address an organisation: a model may well say so."""
    found = [Entity("PER", 0, 7, "Ann Lee", 0.9), Entity("ORG", 20, 35, "ann@example.org", 0.8)]
    return [Entities(found) for _ in inputs]


@pytest.fixture
def client(key_file: Path) -> Iterator[TestClient]:
    hiding = Hiding.of(MaskConfig(key_file=str(key_file)))
    limits = Limits(4, 200)
    with TestClient(
        create_api(
            by_version(answer),
            EntityPredictor,
            model="m",
            version=lambda: "1",
            limits=limits,
            key_sha256=None,
            hiding=hiding,
        )
    ) as client:
        yield client


def said(client: TestClient, mask: Any) -> list[str]:
    body = {"inputs": TEXT} if mask is None else {"inputs": TEXT, "mask": mask}
    entities = client.post("/v1/predict", json=body).raise_for_status().json()["outputs"]["entities"]
    assert [(one["start"], one["end"]) for one in entities] == [(0, 7), (20, 35)]
    return [one["text"] for one in entities]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, ["Ann Lee", "ann@example.org"]),
        (False, ["Ann Lee", "ann@example.org"]),
        (True, ["[NAME]", "[EMAIL]"]),
        ({"kinds": ["email"]}, ["Ann Lee", "[EMAIL]"]),
    ],
)
def test_what_is_asked_for_is_masked(client: TestClient, mask: Any, expected: list[str]) -> None:
    assert said(client, mask) == expected


def test_a_reversible_token_opens_with_the_key(client: TestClient, key_file: Path) -> None:
    sealed = said(client, {"reversible": True})
    assert all(":" in one for one in sealed)
    assert [unmask(one, read_key(key_file.read_text())) for one in sealed] == ["Ann Lee", "ann@example.org"]


@pytest.mark.parametrize("mask", [{"kinds": ["shoe size"]}, {"kinds": []}, {"colour": 1}, "yes please", 7])
def test_what_cannot_be_masked_is_refused_in_words(client: TestClient, mask: Any) -> None:
    refused = client.post("/v1/predict", json={"inputs": TEXT, "mask": mask})
    assert refused.status_code == 422
    assert refused.json()["error"]
    assert "Ann" not in refused.text


def test_without_a_key_nothing_can_be_asked_back() -> None:
    app = create_api(
        by_version(answer), EntityPredictor, model="m", version=lambda: "1", limits=Limits(4, 200), key_sha256=None
    )
    with TestClient(app) as client:
        refused = client.post("/v1/predict", json={"inputs": TEXT, "mask": {"reversible": True}})
    assert (refused.status_code, "no key" in refused.json()["error"]) == (422, True)


def test_settings_that_cannot_be_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'XX' is no region"):
        Hiding.of(MaskConfig(regions=("XX",)))
    with pytest.raises(UserError, match="cannot be read"):
        Hiding.of(MaskConfig(key_file=str(tmp_path / "nowhere")))
    (tmp_path / "short").write_text("c2hvcnQ")
    with pytest.raises(UserError, match="has 5 bytes"):
        Hiding.of(MaskConfig(key_file=str(tmp_path / "short")))
