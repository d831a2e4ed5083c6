"""`/metrics`, asked through the interface and its guard."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.inference import keys
from pipelines.inference.access import Access
from pipelines.inference.api import create_api
from pipelines.inference.class_predictor import Label, LabelPredictor
from pipelines.inference.credentials import hash_key
from pipelines.inference.service import Limits
from pipelines.watch.watch import Watch
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(30)

SECRET = "Xq7confidential"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


async def label(inputs: list[Any]) -> list[Any]:
    return [Label("a", 0.5, {}) for _ in inputs]


def ask(*requests: tuple[str, str, str | None], watch: Watch | None, **door: Any) -> list[httpx.Response]:
    """Requests as (method, path, key)."""

    async def all_of_them() -> list[httpx.Response]:
        app = create_api(
            by_version(label),
            LabelPredictor,
            model="m",
            version=lambda: "1",
            limits=Limits(2, 100),
            watch=watch,
            **door,
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [
                await client.request(
                    method,
                    path,
                    json={"inputs": SECRET} if method == "POST" else None,
                    headers={} if key is None else {"Authorization": f"Bearer {key}"},
                )
                for method, path, key in requests
            ]

    return asyncio.run(all_of_them())


def test_every_request_is_counted_also_one_that_is_refused_and_no_text_is_told() -> None:
    asked = [("POST", "/v1/predict", "k"), ("POST", "/v1/predict", None), ("GET", f"/{SECRET}", "k")]
    *_, found = ask(*asked, ("GET", "/metrics", "k"), watch=Watch(), key_sha256=hash_key("k"))
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = found.text.splitlines()
    assert 'motley_requests_total{path="/v1/predict",status="200"} 1.0' in lines
    assert 'motley_requests_total{path="/v1/predict",status="401"} 1.0' in lines
    assert 'motley_requests_total{path="other",status="404"} 1.0' in lines
    assert SECRET not in found.text


def test_it_needs_the_scope_metrics_which_opens_nothing_else(tmp_path: Path) -> None:
    made = {
        scope: keys.add(tmp_path / "keys.json", scope, scopes=[scope], expires=None, rate=None, now=NOW)[1]
        for scope in ("metrics", "predict")
    }
    asked = [
        ("GET", "/metrics", None),
        ("GET", "/metrics", made["predict"]),
        ("GET", "/metrics", made["metrics"]),
        ("POST", "/v1/predict", made["metrics"]),
    ]
    access = Access(keys=str(tmp_path / "keys.json"))
    found = ask(*asked, watch=Watch(), key_sha256=None, access=access)
    assert [one.status_code for one in found] == [401, 403, 200, 403]
    assert "the scope metrics" in found[1].json()["error"]


def test_without_a_watch_there_is_no_such_address() -> None:
    (found,) = ask(("GET", "/metrics", None), watch=None, key_sha256=None)
    assert found.status_code == 404
