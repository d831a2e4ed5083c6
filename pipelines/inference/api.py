"""The HTTP interface of a served model: what it takes, what it answers, and what it refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException as StarletteHTTPException

from pipelines.inference.entities import Entity
from pipelines.inference.guard import Guard

Answer = Callable[[list[str]], Awaitable[list[list[Entity] | None]]]
"""Reads texts; None for one that the model failed on."""

HOW = 'Send Content-Type: application/json and {"text": "..."} or {"text": ["...", "..."]}'
EXAMPLE: dict[str, JsonValue] = {"type": "LOC", "start": 14, "end": 20, "text": "Berlin", "score": 0.998}


@dataclass(frozen=True, slots=True)
class Limits:
    max_texts: int
    max_characters: int

    @property
    def max_bytes(self) -> int:
        """Room for one longest text as JSON escapes (12 bytes a character), or 16 MiB of shorter ones."""
        return 65_536 + max(12 * self.max_characters, min(4 * self.max_texts * self.max_characters, 2**24))


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]


class Question(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "Ada moved to Berlin."}, {"text": ["Ada moved to Berlin.", ""]}]},
    )
    text: Annotated[Text | list[Text], Field(description="One text, or a list of texts.")]


class EntityOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    type: Annotated[str, Field(description="The entity's type, as in the training data.")]
    start: Annotated[int, Field(description="Where it begins: Unicode code points from the text's beginning.")]
    end: Annotated[int, Field(description="Where it ends; the character at `end` is not part of it.")]
    text: Annotated[str, Field(description="The text between `start` and `end`.")]
    score: Annotated[float, Field(description="Mean probability over the entity's words.")]


class Reply(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "ner", "version": "3", "entities": [EXAMPLE]}]})
    model: str
    version: str
    entities: Annotated[
        list[EntityOut] | list[list[EntityOut]],
        Field(description="For one text its entities; for a list of texts one list for each, in their order."),
    ]


class Health(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "model": "ner", "version": "3"}]})
    status: str
    model: str
    version: str


class Problem(BaseModel):
    error: Annotated[str, Field(description="What is wrong with the request, and what to do about it.")]


def create_api(answer: Answer, *, model: str, version: str, limits: Limits, key_sha256: str | None) -> FastAPI:
    """The application; without `key_sha256` it asks for no credential."""
    app = FastAPI(
        title=f"Motley: {model}",
        version=version,
        description="Finds the entities in a text. Offsets count Unicode code points, as Python does.",
    )
    app.add_middleware(Guard, key_sha256=key_sha256, max_bytes=limits.max_bytes)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _not_a_question)

    # Only for the documentation and its Authorize button: the guard has checked the key by now.
    credential = (
        [] if key_sha256 is None else [Depends(HTTPBearer(auto_error=False, description="The endpoint's key."))]
    )
    problems: dict[int | str, dict[str, Any]] = {
        401: {"model": Problem, "description": "The key is missing or wrong."},
        413: {"model": Problem, "description": "Too many texts, too long a text, or too large a body."},
        422: {"model": Problem, "description": "Not a question."},
    }

    @app.post("/predict", response_model=Reply, responses=problems, dependencies=credential, summary="Find entities")
    async def predict(question: Question) -> JSONResponse:
        """Find the entities of one text or of several."""
        texts = [question.text] if isinstance(question.text, str) else question.text
        _check(texts, limits)
        found = await answer(texts)
        failed = [str(i) for i, entities in enumerate(found) if entities is None]
        if failed:
            raise HTTPException(500, f"The model failed on text {', '.join(failed)} (counted from 0); leave it out.")
        rows = [[asdict(entity) for entity in entities or ()] for entities in found]
        entities = rows[0] if isinstance(question.text, str) else rows
        return JSONResponse({"model": model, "version": version, "entities": entities})

    @app.get("/healthz", response_model=Health, summary="Is it up?")
    async def healthz() -> JSONResponse:
        """Which model answers here. Needs no key."""
        return JSONResponse({"status": "ok", "model": model, "version": version})

    return app


def _check(texts: list[str], limits: Limits) -> None:
    if len(texts) > limits.max_texts:
        raise HTTPException(413, f"{len(texts)} texts in one request; send at most {limits.max_texts} and repeat.")
    for i, text in enumerate(texts):
        if len(text) > limits.max_characters:
            raise HTTPException(
                413, f"Text {i} has {len(text)} characters; cut it into pieces of at most {limits.max_characters}."
            )


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)


async def _not_a_question(_: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer repeats the input, and so would every log of answers."""
    assert isinstance(error, RequestValidationError)
    reasons = sorted({str(problem["msg"]) for problem in error.errors()})
    return JSONResponse({"error": f"{HOW}. This request: {'; '.join(reasons)}."}, 422)
