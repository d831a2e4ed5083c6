"""The HTTP interface of a served model: what it takes, what it answers, and what it refuses.

One way to ask is here, `/v1/predict`; every other protocol is a file of its own that adds its routes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from pipelines.inference import about, chat_api, explain_api, metrics_api, open_inference, web_page
from pipelines.inference.access import Access
from pipelines.inference.chat_turns import Write
from pipelines.inference.deadlines import Deadlines, request_timeout
from pipelines.inference.explain_api import Explain
from pipelines.inference.guard import Guard
from pipelines.inference.hiding import Hiding
from pipelines.inference.limits import Ask
from pipelines.inference.masking.answers import MaskAsked
from pipelines.inference.predictor import Predictor, takes_media, takes_text
from pipelines.inference.problems import handle_problems, how_to_ask, problems
from pipelines.inference.service import Answer, Limits, Service
from pipelines.traces.spans import child
from pipelines.traces.traces import Traces
from pipelines.watch.watch import Watch

PREDICT = "/v1/predict"


class Health(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "model": "ner", "version": "3"}]})
    status: str
    model: str
    version: str


def create_api(
    answer: Answer,
    predictor: type[Predictor],
    *,
    model: str,
    version: Callable[[], str],
    limits: Limits,
    key_sha256: str | None,
    access: Access = Access(),  # noqa: B008  frozen
    ask: Ask | None = None,
    hiding: Hiding = Hiding(),  # noqa: B008  frozen
    explain: Explain | None = None,
    write: Write | None = None,
    watch: Watch | None = None,
    traces: Traces | None = None,
) -> FastAPI:
    """The application; without `key_sha256` and other ways in by `access` it asks for no credential.

    Args:
        version: which one is served now.
        ask: where the requests of each caller are counted; in this process alone when left out.
        hiding: what of the answers can be masked.
        explain: says why; `/v1/explain` is there only with it.
        write: writes chats; `/v1/chat/completions` is there only with it.
        watch: is told of every request; `/metrics` is there only with it.
        traces: where each request gets its spans; none does without.

    Raises:
        UserError: a key file cannot be used, or the audit log cannot be written.
    """
    door = access.door(key_sha256, ask)
    service = Service(answer, predictor, model, version, limits, hiding, hiding.key())
    app = FastAPI(title=f"Motley: {model}", version=version(), description=predictor.asks)
    missed: dict[str, Any] = {} if watch is None else {"missed": watch.deadline_missed}
    app.add_middleware(Deadlines, most=limits.seconds, **missed)
    # Round the deadlines: what is over has the guard's headers, and its line in the audit log.
    told: dict[str, Any] = {} if watch is None else {"told": watch.requested}
    max_bytes = limits.max_bytes(media=takes_media(predictor))
    app.add_middleware(Guard, door=door, max_bytes=max_bytes, traces=traces, **told)
    # Only for the documentation and its Authorize button: the guard has checked the key by now.
    credential = [Depends(HTTPBearer(auto_error=False, description="The endpoint's key."))] if door.credentials else []
    hints = {PREDICT: how_to_ask({"inputs": [predictor.example[0]]})}
    _add_predict(app, service, credential)
    if explain is not None:
        hints |= explain_api.add_routes(app, service, explain, credential)
    hints |= open_inference.add_routes(app, service, credential)
    hints |= chat_api.add_routes(app, service, write, credential)
    if watch is not None:
        metrics_api.add_routes(app, watch, credential)
    about.add_routes(app, service, explains=explain is not None, asks_for_key=bool(door.credentials))
    web_page.add_routes(app)
    handle_problems(app, hints)

    @app.get("/healthz", response_model=Health, summary="Is it up?")
    async def healthz() -> JSONResponse:
        """Which model answers here. Needs no key."""
        return JSONResponse({"status": "ok", "model": model, "version": version()})

    return app


def _add_predict(app: FastAPI, service: Service, credential: list[Any]) -> None:
    question, reply = _forms(service)

    async def predict(asked: BaseModel) -> JSONResponse:
        given: Any = asked.inputs  # type: ignore[attr-defined]
        mask: MaskAsked = asked.mask  # type: ignore[attr-defined]
        found = await service.outputs(given if isinstance(given, list) else [given], mask)
        with child("answer"):
            rows: list[Any] = found.outputs
            outputs: Any = [asdict(row) for row in rows]
            outputs = outputs if isinstance(given, list) else outputs[0]
            return JSONResponse({"model": service.model, "version": found.version, "outputs": outputs})

    # Not a postponed annotation: the body's form is made for this model.
    predict.__annotations__["asked"] = question
    app.post(
        PREDICT,
        response_model=reply,
        responses=problems(400, 401, 403, 413, 422, 429, 500, 503, 504),
        dependencies=[*credential, Depends(request_timeout)],
        summary="Ask the model",
        description=service.predictor.asks,
    )(predict)


def _forms(service: Service) -> tuple[type[BaseModel], type[BaseModel]]:
    """What a request and an answer look like."""
    gives: Any = service.predictor.gives
    one: Any = service.form
    given, found = (dict(part) for part in service.predictor.example)
    short = " A text alone is an input, too." if takes_text(service.predictor) else ""
    question = create_model(
        "Question",
        __config__=ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inputs": [given]}, {"inputs": given}]}),
        inputs=Annotated[one | list[one], Field(description=f"One input, or a list of inputs.{short}")],
        mask=Annotated[MaskAsked, Field(default=False, description="Personal data to mask in the outputs.")],
    )
    example: JsonValue = {"model": service.model, "version": service.version(), "outputs": [found]}
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
