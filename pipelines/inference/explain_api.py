"""`/v1/explain`: which parts of an input made the model say what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from pipelines.inference.aside import Aside
from pipelines.inference.deadlines import request_timeout
from pipelines.inference.explain import FEWEST_STEPS, MOST_STEPS, USUAL_STEPS, Explained, Explainer
from pipelines.inference.masking.answers import MaskAsked
from pipelines.inference.masking.explanations import mask_explained
from pipelines.inference.predictor import texts_in
from pipelines.inference.problems import how_to_ask, problems, put_in_words
from pipelines.inference.service import Service, refuse_half_characters

EXPLAIN = "/v1/explain"
WAITING = 8

Explain = Callable[[Any, str | int | None, int], Awaitable[Explained]]
"""Says why, of an input, a target and a number of steps. Raises UserError for what it cannot explain, BusyError."""

_TARGET = (
    "What to explain: a label by its name (the likeliest if left out), or an entity by its number in the order of the "
    "text, counted from 0 (the first if left out)."
)

_STEPS = "Passes of the model along the way from a blank input; more make the error smaller."


def in_turn(explainer: Explainer) -> Explain:
    """One explanation at a time, in a thread beside the predictions; few wait for it."""
    aside = Aside(at_once=1, waiting=WAITING)

    async def explain(given: Any, target: str | int | None, steps: int) -> Explained:
        return await aside.run(lambda: explainer.explain(given, target, steps=steps))

    return explain


def add_routes(app: FastAPI, service: Service, explain: Explain, credential: list[Any]) -> dict[str, str]:
    """Returns what a good request is, by path."""
    example: dict[str, JsonValue] = {"input": dict(service.predictor.example[0])}
    form: Any = service.form
    parts: dict[str, Any] = {
        "input": Annotated[form, Field(description="One input.")],
        "target": (Annotated[str | Annotated[int, Field(ge=0)] | None, Field(description=_TARGET)], None),
        "steps": (Annotated[int, Field(ge=FEWEST_STEPS, le=MOST_STEPS, description=_STEPS)], USUAL_STEPS),
        "mask": (Annotated[MaskAsked, Field(description="Personal data to mask in the explanation.")], False),
    }
    config = ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})
    question = create_model("WhyQuestion", __config__=config, **parts)

    async def why(asked: BaseModel) -> JSONResponse:
        wanted: Any = asked
        if isinstance(wanted.target, str):
            refuse_half_characters("The target", wanted.target)
        [given] = await service.checked([wanted.input])
        masks = service.masks(wanted.mask)
        version = service.version()
        with put_in_words("an explanation"):
            found = await explain(given, wanted.target, wanted.steps)
        if masks is not None:
            # Its entities are the names that an answer would mask.
            output = (await service.answered([given])).outputs
            masking = await asyncio.to_thread(masks.beside, texts_in(given), output)
            found = await asyncio.to_thread(mask_explained, found, given, masking)
        return JSONResponse({"model": service.model, "version": version, "explanation": asdict(found)})

    why.__annotations__["asked"] = question
    reply = create_model("WhyReply", model=str, version=str, explanation=Explained)
    app.post(
        EXPLAIN,
        response_model=reply,
        responses=problems(400, 401, 403, 413, 422, 429, 500, 503, 504),
        dependencies=[*credential, Depends(request_timeout)],
        summary="Ask the model why",
        description="Integrated gradients over the embeddings of the sub-words (Sundararajan et al. 2017), and whether "
        "the sub-words that they name matter more than others do (DeYoung et al. 2020).",
    )(why)
    return {EXPLAIN: how_to_ask(example)}
