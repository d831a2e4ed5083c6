"""What callers are allowed is counted once for all replicas."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ray import serve

from cluster.serve_options import ServeOptions
from cluster.serving import build
from pipelines.inference.access import Access
from pipelines.inference.credentials import hash_key
from pipelines.inference.rate import Rate
from pipelines.serve_settings import ServeConfig
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = pytest.mark.timeout(180)

KEY, ALLOWED = "a-key-for-tests", 10


@pytest.fixture
def url(ray_session: None, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ServeOptions(
        model=str(make_model_folder(tmp_path / "tiny")),
        tracking_uri=None,
        key_sha256=hash_key(KEY),
        settings=ServeConfig(replicas=2, cpus_per_replica=0.5),
        access=Access(rate=Rate(ALLOWED, 3600)),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(options), name="counting")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def test_two_replicas_answer_as_often_as_the_key_may_ask_and_no_more(url: str) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30, trust_env=False) as client:
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda n: client.post("/v1/predict", json={"inputs": f"Text {n}"}), range(30)))
        assert sorted(answer.status_code for answer in asked) == [200] * ALLOWED + [429] * (30 - ALLOWED)
        late = client.post("/v1/predict", json={"inputs": "one more"})
    assert late.status_code == 429
    # A new one comes every 360 seconds.
    assert 0 < int(late.headers["Retry-After"]) <= 360
    assert "10 times in 3600 s" in late.json()["error"]
