"""A Ray Serve deployment round `transformers.pipeline`, one request at a time."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import ray
import torch
from ray import serve
from starlette.requests import Request
from transformers import pipeline


@serve.deployment(num_replicas=2, max_ongoing_requests=512, ray_actor_options={"num_cpus": 1})
class Plain:
    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)
        self._pipeline = pipeline("token-classification", model=folder, aggregation_strategy="simple")

    async def __call__(self, request: Request) -> list[dict[str, Any]]:
        asked = await request.json()
        return [{**found, "score": float(found["score"])} for found in self._pipeline(asked["text"])]


def main() -> None:
    folder, port = sys.argv[1], int(sys.argv[2])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Plain.bind(folder))
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
