"""A registered model as a Ray Serve application.

request 1 --input--.                                     .--> output
request 2 --input---> Batcher -> inputs of like length ---+--> output
request 3 --inputs-'             in one pass at a time    '--> ...
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, HTTPException
from ray import serve

from cluster.counting import asking, counter
from pipelines.inference import registry
from pipelines.inference.access import Access
from pipelines.inference.api import create_api
from pipelines.inference.batcher import Batcher, Overloaded, Pass
from pipelines.inference.explain_api import in_turn
from pipelines.inference.hiding import Hiding
from pipelines.inference.masking.records import install
from pipelines.inference.service import Limits


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a replica needs to know."""

    model: str
    """`models:/NAME/VERSION` or a folder. An alias is resolved by each replica for itself: better resolve it before."""
    tracking_uri: str | None
    key_sha256: str | None
    """The single key's SHA-256 in hex (`pipelines.inference.credentials.hash_key`), never the key; None where it is no
    way in."""
    replicas: int = 1
    cpus_per_replica: float = 1
    max_batch_size: int = 32
    batch_wait_ms: float = 5
    max_wait_seconds: float = 30
    max_inputs: int = 256
    max_characters: int = 20_000
    access: Access = field(default_factory=Access)
    """The other ways in, and what else is asked of callers; without any way nobody is asked for a credential."""
    hiding: Hiding = field(default_factory=Hiding)
    """What of the answers can be masked."""


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
        # What waits inside is sorted by length; what Ray Serve keeps outside is not. `max_wait_seconds` is the limit.
        max_ongoing_requests=16 * options.max_batch_size,
        ray_actor_options={"num_cpus": options.cpus_per_replica},
    )(serve.ingress()(Endpoint))
    return deployment.bind(options, counter() if options.access.counts else None)


class Endpoint:
    """One replica."""

    def __init__(self, options: ServeOptions, counter: Any = None) -> None:
        """
        Args:
            counter: the handle of what counts for all replicas, where anything is to be counted.
        """
        # Here, so that only a replica needs torch.
        from pipelines.inference.pass_cost import UNMEASURED, measure
        from pipelines.inference.predictor import ReadingPredictor
        from pipelines.inference.predictors import load_predictor

        # Whatever a library writes of a text: Ray Serve's handlers are there by now.
        install(logging.getLogger())
        self._options, self._counter = options, counter
        self._ref = registry.resolve(options.model, tracking_uri=options.tracking_uri)
        folder, _ = registry.fetch(self._ref.uri, tracking_uri=options.tracking_uri)
        self._predictor = load_predictor(folder, threads=max(1, math.floor(options.cpus_per_replica)))
        # The first pass is slow; better now than in somebody's request.
        self._predictor.predict([self._predictor.hello])
        self._served = Served(0, 0)
        cost = measure(self._predictor) if isinstance(self._predictor, ReadingPredictor) else UNMEASURED
        self._batcher = Batcher(
            self._predictor,
            cost,
            most=options.max_batch_size,
            wait=options.batch_wait_ms / 1000,
            patience=options.max_wait_seconds,
            told=self._passed,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Ray Serve asks for the HTTP interface after `__init__`."""
        limits = Limits(self._options.max_inputs, self._options.max_characters)
        explainer = self._predictor.explainer()
        return create_api(
            self._answer,
            type(self._predictor),
            model=self._ref.name,
            version=self._ref.version,
            limits=limits,
            key_sha256=self._options.key_sha256,
            access=self._options.access,
            ask=None if self._counter is None else asking(self._counter),
            hiding=self._options.hiding,
            explain=None if explainer is None else in_turn(explainer),
            writer=self._predictor.writer(),
        )

    async def served(self) -> Served:
        return self._served

    async def _answer(self, inputs: list[Any]) -> list[Any | None]:
        try:
            return await self._batcher.answer(inputs)
        except Overloaded as error:
            raise HTTPException(
                503,
                f"{error}, and this endpoint takes on no more than {self._options.max_wait_seconds:g} s "
                "(serve.max_wait_seconds): ask again later, or add replicas.",
                headers={"Retry-After": str(math.ceil(error.seconds))},
            ) from None

    def _passed(self, done: Pass) -> None:
        self._served = Served(self._served.num_inputs + len(done.lengths), self._served.num_passes + 1)
