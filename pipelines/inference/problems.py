"""How the endpoint says what is wrong: as JSON, in words, and without a word of what it was sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, JsonValue
from starlette.exceptions import HTTPException

from pipelines.errors import UserError
from pipelines.inference.aside import BusyError
from pipelines.traces.spans import here

logger = logging.getLogger(__name__)

OPENAI = "/v1/chat/"
"""Where clients look for what is wrong in an object, as they do at OpenAI's."""


_TRACE = "The id of the request's trace, where traces are made: whoever runs the endpoint finds it by that."


class Problem(BaseModel):
    error: Annotated[str, Field(description="What is wrong with the request, and what to do about it.")]
    trace: Annotated[str | None, Field(description=_TRACE)] = None


class ChatProblemDetails(BaseModel):
    message: Annotated[str, Field(description="What is wrong with the request, and what to do about it.")]
    type: str
    param: str | None
    code: str | None


class ChatProblem(BaseModel):
    error: ChatProblemDetails
    trace: Annotated[str | None, Field(description=_TRACE)] = None


_WHEN = {
    400: "The body is no JSON, or Request-Timeout no number of seconds.",
    401: "The key is missing or wrong.",
    403: "The key is not for this.",
    404: "There is no such model, or no such version of it.",
    413: "Too many inputs, too long an input, or too large a body.",
    422: "Not a question.",
    429: "The key has asked too often, or too many wait for the same; Retry-After says when to ask again.",
    500: "The model failed on an input.",
    503: "Not just now; Retry-After says when to ask again.",
    504: "The request's deadline was over before there was an answer.",
}


_AT_THE_DOOR = (401, 403, 503)
"""Said by the guard, who has one form for all paths. So has its 413 and its 429, which others say, too."""


def problems(*codes: int, form: type[BaseModel] = Problem) -> dict[int | str, dict[str, Any]]:
    """For the documentation of a path: what may go wrong there."""
    either: Any = form | Problem
    forms = dict.fromkeys(_AT_THE_DOOR, Problem) | dict.fromkeys((413, 429), either)
    return {code: {"model": forms.get(code, form), "description": _WHEN[code]} for code in codes}


def how_to_ask(example: Mapping[str, Any]) -> str:
    """The beginning of what is said to a body of the wrong form."""
    return f"Send Content-Type: application/json and a body such as {json.dumps(example, ensure_ascii=False)}"


def problem(error: JsonValue) -> dict[str, JsonValue]:
    """The body that says what is wrong with the request under way."""
    parent = here()
    return {"error": error} if parent is None else {"error": error, "trace": parent.trace_id}


def say(path: str, message: str, code: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request to `path` that something is wrong with."""
    if not path.startswith(OPENAI):
        return JSONResponse(problem(message), code, headers=headers)
    kind = "invalid_request_error" if code < 500 else "server_error"
    told: dict[str, JsonValue] = {"message": message, "type": kind, "param": None, "code": None}
    return JSONResponse(problem(told), code, headers=headers)


@contextmanager
def put_in_words(what: str) -> Iterator[None]:
    """For work on `what` beside the predictions.

    Raises:
        HTTPException: 422 for a UserError, 429 for a BusyError, 500 for every other error.
    """
    try:
        yield
    except HTTPException:
        raise
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    except BusyError:
        busy = f"Too many others ask for {what} already; come back later."
        raise HTTPException(429, busy, {"Retry-After": "1"}) from None
    except Exception as error:
        # Neither the message nor the traceback: both may quote the text.
        logger.error("The model failed on %s: %s.", what, type(error).__name__)
        raise HTTPException(500, f"The model failed on {what}.") from None


def handle_problems(app: FastAPI, hints: Mapping[str, str]) -> None:
    """Let the application answer every error in this form.

    Args:
        hints: by the path of a route, what a good request to it is.
    """

    async def not_a_question(request: Request, error: Exception) -> JSONResponse:
        """FastAPI's own answer repeats the input, and so would every log of answers."""
        assert isinstance(error, RequestValidationError)
        reasons = "; ".join(sorted({str(problem["msg"]) for problem in error.errors()}))
        hint = hints.get(getattr(request.scope.get("route"), "path", ""))
        message = f"This request: {reasons}." if hint is None else f"{hint}. This request: {reasons}."
        return say(request.url.path, message, 422)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return say(request.url.path, _in_words(error), error.status_code, error.headers)

    app.add_exception_handler(RequestValidationError, not_a_question)
    app.add_exception_handler(HTTPException, refused)


def _in_words(error: HTTPException) -> str:
    """Of a request that met no route, something of more use than a status's name."""
    if error.status_code == 404 and error.detail == "Not Found":
        return "There is nothing at this address; GET /docs shows what there is."
    if error.status_code == 405:
        return f"This address takes {(error.headers or {}).get('Allow', 'another method')} only."
    return str(error.detail)
