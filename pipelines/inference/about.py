"""What the endpoint says of itself, so that a page or a program can ask any model without knowing it before."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Literal, get_type_hints

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pipelines.inference.predictor import Predictor
from pipelines.inference.predictors import PREDICTORS
from pipelines.inference.service import Service


class Field(BaseModel):
    """One part of an input."""

    name: str
    kind: Literal["text", "file", "number"]
    default: str | int | float | None
    required: bool


class Most(BaseModel):
    inputs: int
    characters: int


class Example(BaseModel):
    input: dict[str, Any]
    output: dict[str, Any]


class About(BaseModel):
    model: str
    version: str
    task: str | None
    """None for a predictor that no task has."""
    asks: str
    takes: list[Field]
    gives: str
    """The name of the output's form."""
    example: Example
    limits: Most
    explains: bool
    asks_for_key: bool


def add_routes(app: FastAPI, service: Service, *, explains: bool, asks_for_key: bool) -> None:
    given, found = (dict(part) for part in service.predictor.example)
    told = About(
        model=service.model,
        version=service.version(),
        task=_task(service.predictor),
        asks=service.predictor.asks,
        takes=fields_of(service.predictor),
        gives=service.predictor.gives.__name__,
        example=Example(input=given, output=found),
        limits=Most(inputs=service.limits.max_inputs, characters=service.limits.max_characters),
        explains=explains,
        asks_for_key=asks_for_key,
    ).model_dump()

    @app.get("/v1/about", response_model=About, summary="What is served here?")
    async def about() -> JSONResponse:
        """The model, what an input and an output of it look like, and how much may be asked. Needs no key."""
        return JSONResponse(told | {"version": service.version()})


def fields_of(predictor: type[Predictor]) -> list[Field]:
    """The parts of an input, in their order."""
    types = get_type_hints(predictor.takes)
    return [
        Field(
            name=field.name,
            kind="file" if field.metadata.get("media") else "number" if types[field.name] is int else "text",
            default=None if field.default is MISSING else field.default,
            required=field.default is MISSING,
        )
        for field in fields(predictor.takes)
    ]


def _task(predictor: type[Predictor]) -> str | None:
    return next((task for task, known in PREDICTORS.items() if known is predictor), None)
