"""The HTTP interface of a served model: what it takes, what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipelines.inference.access import Access
from pipelines.inference.audit import note_size
from pipelines.inference.guard import Guard
from pipelines.inference.limits import Ask
from pipelines.inference.predictor import Predictor, num_characters, takes_media, takes_text, texts_in

Answer = Callable[[list[Any]], Awaitable[list[Any | None]]]
"""Reads inputs; None for one that the model failed on."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_inputs: int
    max_characters: int
    """Of all texts of one input together."""

    def max_bytes(self, *, media: bool) -> int:
        """Room for one longest input as JSON escapes (12 bytes a character), or 16 MiB of shorter ones, or of files."""
        texts = max(12 * self.max_characters, min(4 * self.max_inputs * self.max_characters, 2**24))
        return 65_536 + (max(texts, 2**24) if media else texts)


class Health(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "model": "ner", "version": "3"}]})
    status: str
    model: str
    version: str


class Problem(BaseModel):
    error: Annotated[str, Field(description="What is wrong with the request, and what to do about it.")]


def create_api(
    answer: Answer,
    predictor: type[Predictor],
    *,
    model: str,
    version: str,
    limits: Limits,
    key_sha256: str | None,
    access: Access = Access(),  # noqa: B008  frozen
    ask: Ask | None = None,
) -> FastAPI:
    """The application; without `key_sha256` and other ways in by `access` it asks for no credential.

    Args:
        ask: where the requests of each caller are counted; in this process alone when left out.

    Raises:
        UserError: the key file cannot be used, or the audit log cannot be written.
    """
    door = access.door(key_sha256, ask)
    app = FastAPI(title=f"Motley: {model}", version=version, description=predictor.asks)
    app.add_middleware(Guard, door=door, max_bytes=limits.max_bytes(media=takes_media(predictor)))
    app.add_exception_handler(StarletteHTTPException, _http_error)
    question, reply = _forms(predictor, model, version)

    async def not_a_question(_: Request, error: Exception) -> JSONResponse:
        """FastAPI's own answer repeats the input, and so would every log of answers."""
        assert isinstance(error, RequestValidationError)
        reasons = sorted({str(problem["msg"]) for problem in error.errors()})
        example = json.dumps({"inputs": [predictor.example[0]]}, ensure_ascii=False)
        how = f"Send Content-Type: application/json and a body such as {example}"
        return JSONResponse({"error": f"{how}. This request: {'; '.join(reasons)}."}, 422)

    app.add_exception_handler(RequestValidationError, not_a_question)
    # Only for the documentation and its Authorize button: the guard has checked the key by now.
    credential = [Depends(HTTPBearer(auto_error=False, description="The endpoint's key."))] if door.credentials else []
    problems: dict[int | str, dict[str, Any]] = {
        401: {"model": Problem, "description": "The key is missing or wrong."},
        403: {"model": Problem, "description": "The key is not for this."},
        413: {"model": Problem, "description": "Too many inputs, too long an input, or too large a body."},
        422: {"model": Problem, "description": "Not a question."},
        429: {"model": Problem, "description": "The key has asked too often; Retry-After says when to ask again."},
        500: {"model": Problem, "description": "The model failed on an input."},
        503: {"model": Problem, "description": "Not just now; Retry-After says when to ask again."},
    }

    async def predict(asked: BaseModel) -> JSONResponse:
        given: Any = asked.inputs  # type: ignore[attr-defined]
        inputs = [predictor.takes(one) if isinstance(one, str) else one for one in _listed(given)]
        note_size(len(inputs), sum(map(num_characters, inputs)))
        _check(inputs, limits)
        for i, one in enumerate(inputs):
            if (trouble := await asyncio.to_thread(predictor.refuses, one)) is not None:
                raise HTTPException(422, f"Input {i}: {trouble}")
        found = await answer(inputs)
        failed = [str(i) for i, output in enumerate(found) if output is None]
        if failed:
            raise HTTPException(500, f"The model failed on input {', '.join(failed)} (counted from 0); leave it out.")
        outputs: Any = [asdict(output) for output in found if output is not None]
        outputs = outputs if isinstance(given, list) else outputs[0]
        return JSONResponse({"model": model, "version": version, "outputs": outputs})

    # Not a postponed annotation: the body's form is made for this model.
    predict.__annotations__["asked"] = question
    app.post(
        "/v1/predict",
        response_model=reply,
        responses=problems,
        dependencies=credential,
        summary="Ask the model",
        description=predictor.asks,
    )(predict)

    @app.get("/healthz", response_model=Health, summary="Is it up?")
    async def healthz() -> JSONResponse:
        """Which model answers here. Needs no key."""
        return JSONResponse({"status": "ok", "model": model, "version": version})

    return app


def _forms(predictor: type[Predictor], model: str, version: str) -> tuple[type[BaseModel], type[BaseModel]]:
    """What a request and an answer look like."""
    takes: Any = predictor.takes
    gives: Any = predictor.gives
    one: Any = takes | str if takes_text(predictor) else takes
    given, found = (dict(part) for part in predictor.example)
    short = " A text alone is an input, too." if takes_text(predictor) else ""
    question = create_model(
        "Question",
        __config__=ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inputs": [given]}, {"inputs": given}]}),
        inputs=Annotated[one | list[one], Field(description=f"One input, or a list of inputs.{short}")],
    )
    example: JsonValue = {"model": model, "version": version, "outputs": [found]}
    reply = create_model(
        "Reply",
        __config__=ConfigDict(json_schema_extra={"examples": [example]}),
        model=str,
        version=str,
        outputs=Annotated[
            gives | list[gives],
            Field(description="For one input its output; for a list of inputs a list, in their order."),
        ],
    )
    return question, reply


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _check(inputs: list[Any], limits: Limits) -> None:
    if len(inputs) > limits.max_inputs:
        raise HTTPException(413, f"{len(inputs)} inputs in one request; send at most {limits.max_inputs} and repeat.")
    for i, given in enumerate(inputs):
        if (length := num_characters(given)) > limits.max_characters:
            raise HTTPException(
                413, f"Input {i} has {length} characters; cut it into pieces of at most {limits.max_characters}."
            )
        for text in texts_in(given):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise HTTPException(
                    422, f"Input {i} holds half of a surrogate pair, which is no character; leave it out."
                ) from None


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)
