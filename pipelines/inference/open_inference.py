"""The Open Inference Protocol, version 2, which Triton, KServe and their clients speak: inputs and outputs as tensors.

An input's fields are tensors of one length, its texts BYTES. What has no tensor's form in an output, such as a list of
entities, is JSON in BYTES.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import version as version_of
from math import prod
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from pipelines.inference.deadlines import request_timeout
from pipelines.inference.masking.answers import MaskAsked
from pipelines.inference.problems import how_to_ask, problems
from pipelines.inference.service import Service, refuse_half_characters
from pipelines.traces.spans import child

MODEL = "/v2/models/{name}"
VERSION = f"{MODEL}/versions/{{number}}"
DATATYPES = {str: "BYTES", int: "INT64", float: "FP64", bool: "BOOL"}
INTEGERS = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
DEEPEST = 4
"""Dimensions of a tensor: only those of length 1 may come behind the first."""
LONGEST_ID = 256
_MASK: TypeAdapter[MaskAsked] = TypeAdapter(MaskAsked)


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class Server(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorForm(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ModelForm(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorForm]
    outputs: list[TensorForm]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Given(_Strict):
    """One field of all inputs."""

    name: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(min_length=1, max_length=DEEPEST)]
    datatype: str
    parameters: dict[str, JsonValue] | None = None
    data: list[JsonValue]


class Wanted(_Strict):
    name: str
    parameters: dict[str, JsonValue] | None = None


class InferRequest(_Strict):
    id: Annotated[str, Field(max_length=LONGEST_ID)] | None = None
    parameters: dict[str, JsonValue] | None = None
    inputs: Annotated[list[Given], Field(min_length=1)]
    outputs: list[Wanted] | None = None


class Found(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, JsonValue] | None = None
    data: list[Any]


class InferReply(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Found]


def add_routes(app: FastAPI, service: Service, credential: list[Any]) -> dict[str, str]:
    """Returns what a good request is, by path."""
    form = _form(service)
    told = problems(401, 403, 404, 422, 429, 503)

    @app.get("/v2", response_model=Server, tags=["v2"], summary="Server metadata")
    async def server() -> JSONResponse:
        return JSONResponse({"name": "motley", "version": version_of("motley"), "extensions": []})

    @app.get("/v2/health/live", response_model=Live, tags=["v2"], summary="Is it up?")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/v2/health/ready", response_model=Ready, tags=["v2"], summary="Can it answer?")
    async def ready() -> JSONResponse:
        """The model is read and warm before this address is there."""
        return JSONResponse({"ready": True})

    async def metadata() -> JSONResponse:
        return JSONResponse(form.model_dump() | {"versions": [service.version()]})

    async def model_ready() -> JSONResponse:
        return JSONResponse({"name": service.model, "ready": True})

    async def infer(asked: InferRequest) -> JSONResponse:
        refuse_half_characters("The id", asked.id or "")
        mask = _mask((asked.parameters or {}).get("mask", False))
        found = await service.outputs(_inputs(service, asked.inputs), mask)
        with child("answer"):
            reply = {"model_name": service.model, "model_version": found.version}
            reply |= {} if asked.id is None else {"id": asked.id}
            return JSONResponse({**reply, "outputs": _tensors(service, found.outputs, asked.outputs)})

    async def named(name: str) -> None:
        _check_name(service, name, service.version())

    async def versioned(name: str, number: str) -> None:
        _check_name(service, name, number)

    asks = service.predictor.asks
    for path, check in ((MODEL, named), (VERSION, versioned)):
        which: dict[str, Any] = {"tags": ["v2"], "dependencies": [*credential, Depends(check)]}
        app.get(path, response_model=ModelForm, responses=told, summary="Model metadata", **which)(metadata)
        app.get(f"{path}/ready", response_model=ModelReady, responses=told, summary="Ready?", **which)(model_ready)
        which |= {
            "dependencies": [*which["dependencies"], Depends(request_timeout)],
            "responses": problems(400, 401, 403, 404, 413, 422, 429, 500, 503, 504),
            "summary": "Ask the model",
            "description": asks,
        }
        app.post(f"{path}/infer", response_model=InferReply, **which)(infer)
    example = [_given(name, value) for name, value in service.predictor.example[0].items()]
    hint = how_to_ask({"inputs": example})
    return {f"{MODEL}/infer": hint, f"{VERSION}/infer": hint}


def _given(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": DATATYPES[type(value)], "data": [value]}


def _form(service: Service) -> ModelForm:
    takes, gives = _types(service.predictor.takes), _types(service.predictor.gives)
    return ModelForm(
        name=service.model,
        versions=[service.version()],
        platform="motley",
        inputs=[TensorForm(name=name, datatype=_input_datatype(kind), shape=[-1]) for name, kind in takes.items()],
        outputs=[TensorForm(name=name, datatype=_datatype(kind), shape=[-1]) for name, kind in gives.items()],
    )


def _types(kind: Any) -> dict[str, Any]:
    """Of a dataclass's fields."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _datatype(kind: Any) -> str:
    """BYTES hold JSON where the type has no tensor."""
    return DATATYPES.get(kind, "BYTES")


def _input_datatype(kind: Any) -> str:
    """That of what may be left out is that of what it is where it is there."""
    there = [one for one in get_args(kind) if one is not type(None)] if get_origin(kind) is not None else [kind]
    return _datatype(there[0])


def _check_name(service: Service, name: str, number: str) -> None:
    if name != service.model:
        raise HTTPException(404, f"There is no such model here; {service.model!r} is served.")
    if number != service.version():
        raise HTTPException(404, f"There is no such version here; version {service.version()!r} is served.")


def _mask(value: JsonValue) -> MaskAsked:
    """What the request's parameter `mask` asks for: as in `/v1/predict`, or that as JSON in a text.

    The protocol's parameters are texts, numbers and booleans, and some clients send no others.

    Raises:
        HTTPException: 422 if it is neither.
    """
    try:
        return _MASK.validate_json(value) if isinstance(value, str) else _MASK.validate_python(value)
    except ValidationError:
        raise HTTPException(
            422,
            'The parameter mask must be true, false, or an object such as {"kinds": ["email"], "reversible": false}, '
            "which may be JSON in a text.",
        ) from None


def _inputs(service: Service, tensors: Sequence[Given]) -> list[Any]:
    """One of `takes` for each place of the tensors.

    Raises:
        HTTPException: 422, if tensors are missing, unknown, of several lengths, or hold what is no input.
    """
    takes = service.predictor.takes
    types = _types(takes)
    names = [tensor.name for tensor in tensors]
    if len(set(names)) < len(names) or not set(names) <= set(types):
        raise HTTPException(422, f"Send each of these tensors at most once and no others: {', '.join(types)}.")
    columns = {tensor.name: _column(tensor, _input_datatype(types[tensor.name])) for tensor in tensors}
    if len({len(column) for column in columns.values()}) > 1:
        raise HTTPException(422, "The tensors differ in length; each holds one value for every input.")
    read: TypeAdapter[Any] = TypeAdapter(takes)
    rows = zip(*columns.values(), strict=True)
    try:
        return [read.validate_python(dict(zip(columns, row, strict=True))) for row in rows]
    except ValidationError as error:
        reasons = "; ".join(sorted({problem["msg"] for problem in error.errors()}))
        raise HTTPException(
            422, f"An input of {', '.join(types)} cannot be made of these tensors: {reasons}."
        ) from None


def _column(tensor: Given, datatype: str) -> list[Any]:
    allowed = INTEGERS if datatype == "INT64" else {datatype}
    # The name is one of the model's own by now.
    if tensor.datatype not in allowed:
        raise HTTPException(422, f"Tensor {tensor.name} must have datatype {datatype}.")
    if any(name.startswith("binary") for name in tensor.parameters or {}):
        raise HTTPException(422, f"Tensor {tensor.name} comes as binary data, which is not taken here: send JSON.")
    values = _flat(tensor.data, len(tensor.shape))
    if len(values) != prod(tensor.shape) or len(values) != tensor.shape[0]:
        raise HTTPException(
            422,
            f"Tensor {tensor.name} must hold as many values as its shape says, and have one value for each input: "
            "shape [N] or [N, 1] for N inputs.",
        )
    kind = int if datatype == "INT64" else str
    if not all(type(value) is kind for value in values):
        raise HTTPException(422, f"Tensor {tensor.name} holds a value that is not of datatype {datatype}.")
    return values


def _flat(data: list[Any], depth: int) -> list[Any]:
    """Values that came one list for each dimension, or all in one."""
    for _ in range(depth - 1):
        if all(isinstance(one, list) for one in data):
            data = [value for one in data for value in one]
    return data


def _tensors(service: Service, outputs: Sequence[Any], wanted: Sequence[Wanted] | None) -> list[dict[str, Any]]:
    types = _types(service.predictor.gives)
    names = list(types) if wanted is None else [one.name for one in wanted]
    if not set(names) <= set(types):
        raise HTTPException(422, f"These are the output tensors that can be asked for: {', '.join(types)}.")
    rows = [asdict(output) for output in outputs]
    return [_tensor(name, types[name], [row[name] for row in rows]) for name in dict.fromkeys(names)]


def _tensor(name: str, kind: Any, values: list[Any]) -> dict[str, Any]:
    found = {"name": name, "shape": [len(values)], "datatype": _datatype(kind)}
    if kind in DATATYPES:
        return {**found, "data": values}
    as_json = [json.dumps(value, ensure_ascii=False) for value in values]
    return {**found, "parameters": {"content_type": "application/json"}, "data": as_json}
