"""A registered model as a Ray Serve application.

request 1 --input--.                         .--> output
request 2 --input---> batch -> one thread ---+--> output
request 3 --inputs-'   of at most N inputs   '--> ...
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from ray import serve

from pipelines.inference import registry
from pipelines.inference.api import create_api
from pipelines.inference.explain_api import in_turn
from pipelines.inference.rescue import predict_each
from pipelines.inference.service import Answer, Limits


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a replica needs to know."""

    model: str
    """`models:/NAME/VERSION` or a folder. An alias is resolved by each replica for itself: better resolve it before."""
    tracking_uri: str | None
    key_sha256: str | None
    """The key's SHA-256 in hex (`pipelines.inference.guard.hash_key`), never the key; None asks for no credential."""
    replicas: int = 1
    cpus_per_replica: float = 1
    max_batch_size: int = 32
    batch_wait_ms: float = 5
    max_inputs: int = 256
    max_characters: int = 20_000


@dataclass(frozen=True, slots=True)
class Served:
    """How much a replica has done."""

    num_inputs: int
    num_passes: int


def build(options: ServeOptions) -> serve.Application:
    """The application, ready for `serve.run`."""
    deployment = serve.deployment(
        name="Endpoint",
        num_replicas=options.replicas,
        # Of requests with one input each, as many as a batch holds must be inside, and the next batch waiting.
        max_ongoing_requests=2 * options.max_batch_size,
        ray_actor_options={"num_cpus": options.cpus_per_replica},
    )(serve.ingress()(Endpoint))
    return deployment.bind(options)


class Endpoint:
    """One replica."""

    def __init__(self, options: ServeOptions) -> None:
        # Here, so that only a replica needs torch.
        from pipelines.inference.predictors import load_predictor

        self._options = options
        self._ref = registry.resolve(options.model, tracking_uri=options.tracking_uri)
        folder, _ = registry.fetch(self._ref.uri, tracking_uri=options.tracking_uri)
        self._predictor = load_predictor(folder, threads=max(1, math.floor(options.cpus_per_replica)))
        # The first pass is slow; better now than in somebody's request.
        self._predictor.predict([self._predictor.hello])
        self._served = Served(0, 0)
        self._batched = batched(
            self._pass, max_batch_size=options.max_batch_size, wait_seconds=options.batch_wait_ms / 1000
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray Serve asks for the HTTP interface after `__init__`."""
        limits = Limits(self._options.max_inputs, self._options.max_characters)
        explainer = self._predictor.explainer()
        return create_api(
            self._batched,
            type(self._predictor),
            model=self._ref.name,
            version=self._ref.version,
            limits=limits,
            key_sha256=self._options.key_sha256,
            explain=None if explainer is None else in_turn(explainer),
            writer=self._predictor.writer(),
        )

    async def served(self) -> Served:
        return self._served

    def _pass(self, inputs: list[Any]) -> list[Any | None]:
        self._served = Served(self._served.num_inputs + len(inputs), self._served.num_passes + 1)
        return predict_each(self._predictor, inputs)


def batched(predict: Callable[[list[Any]], list[Any | None]], *, max_batch_size: int, wait_seconds: float) -> Answer:
    """Let all requests share passes: at most `max_batch_size` inputs in one, one pass at a time, in a thread."""

    @serve.batch(max_batch_size=max_batch_size, batch_wait_timeout_s=wait_seconds)
    async def one(inputs: list[Any]) -> list[Any | None]:
        # Batches share the event loop with the health check, which must not wait for torch.
        return await asyncio.to_thread(predict, inputs)

    async def answer(inputs: list[Any]) -> list[Any | None]:
        return list(await asyncio.gather(*(one(given) for given in inputs)))

    return answer
