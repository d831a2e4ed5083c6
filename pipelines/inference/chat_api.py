"""The part of OpenAI's chat interface that a model which always writes the likeliest sub-word can keep."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException

from pipelines.inference.audit import note_size
from pipelines.inference.chat_turns import Begun, Write
from pipelines.inference.chat_writer import End
from pipelines.inference.deadlines import request_timeout, until_due
from pipelines.inference.masking.answers import MaskAsked
from pipelines.inference.masking.streams import MaskedStream
from pipelines.inference.problems import ChatProblem, how_to_ask, problem, problems, put_in_words
from pipelines.inference.service import Service, refuse_half_characters
from pipelines.inference.text_predictor import MOST

CHAT = "/v1/chat/completions"
_WHAT = "a chat"
ONLY: dict[str, tuple[JsonValue, ...]] = {
    "temperature": (0,),
    "top_p": (1,),
    "n": (1,),
    "stop": ([],),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "response_format": ({"type": "text"},),
}
"""Settings whose every other value would ask for what is not done here."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Part(_Strict):
    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    role: Literal["system", "user", "assistant"]
    content: str | list[Part]

    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(_Strict):
    include_usage: bool = False


NewTokens = Annotated[int, Field(ge=1, le=MOST)]


class ChatRequest(_Strict):
    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: NewTokens | None = None
    max_tokens: NewTokens | None = None
    """The same by its old name."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = None
    """Any: nothing is drawn."""
    user: str | None = None
    """Not looked at."""
    mask: MaskAsked = False
    """Not OpenAI's: personal data to mask in what is written."""
    temperature: JsonValue = None
    top_p: JsonValue = None
    n: JsonValue = None
    stop: JsonValue = None
    frequency_penalty: JsonValue = None
    presence_penalty: JsonValue = None
    logit_bias: JsonValue = None
    logprobs: JsonValue = None
    top_logprobs: JsonValue = None
    tools: JsonValue = None
    response_format: JsonValue = None


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class WrittenMessage(BaseModel):
    role: Literal["assistant"]
    content: str


class Choice(BaseModel):
    index: int
    message: WrittenMessage
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ModelCard(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelCards(BaseModel):
    object: Literal["list"]
    data: list[ModelCard]


def add_routes(app: FastAPI, service: Service, write: Write | None, credential: list[Any]) -> dict[str, str]:
    """Returns what a good request is, by path."""
    since = int(time.time())
    card = {"id": service.model, "object": "model", "created": since, "owned_by": "motley"}

    @app.get(
        "/v1/models", response_model=ModelCards, responses=problems(401, 403, 429, 503), dependencies=credential,
        tags=["openai"], summary="The models, in OpenAI's form",
    )  # fmt: skip
    async def models() -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card]})

    if write is None:
        return {}

    @app.post(
        CHAT, response_model=Completion, dependencies=[*credential, Depends(request_timeout)], tags=["openai"],
        summary="Write the next message",
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **problems(400, 401, 403, 404, 413, 422, 429, 500, 503, 504, form=ChatProblem),
        },
    )  # fmt: skip
    async def completions(asked: ChatRequest) -> Response:
        """With `stream` as server-sent events, each as soon as the model has written it."""
        most = _checked(service, asked)
        masks = service.masks(asked.mask)
        messages = [{"role": one.role, "content": one.text()} for one in asked.messages]
        with put_in_words(_WHAT):
            pieces = write(messages, most)
            if masks is not None:
                pieces = _masked(pieces, MaskedStream(masks.beside([one["content"] for one in messages])))
            # What is refused is refused before the status is sent.
            begun, first = await anext(pieces), await anext(pieces)
        assert isinstance(begun, Begun)
        told = _Told(service.model, begun.num_prompt, _from(first, pieces))
        if not asked.stream:
            with put_in_words(_WHAT):
                return JSONResponse(await told.whole())
        options = asked.stream_options or StreamOptions()
        return StreamingResponse(
            told.events(with_usage=options.include_usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    example = {"model": service.model, "messages": [{"role": "user", "content": service.predictor.example[0]["text"]}]}
    return {CHAT: how_to_ask(example)}


def _checked(service: Service, asked: ChatRequest) -> int | None:
    """How many sub-words may be written, if the request says it.

    Raises:
        HTTPException: 404 for another model, 413 for too long messages, 422 for what is not done here.
    """
    if asked.model != service.model:
        raise HTTPException(404, f"There is no such model here; {service.model!r} is served.")
    for name, (only,) in ONLY.items():
        value = getattr(asked, name)
        # JSON's true is no 1.
        if value is not None and (value != only or isinstance(value, bool) != isinstance(only, bool)):
            raise HTTPException(
                422,
                f"{name} must be {json.dumps(only)} or left out: this endpoint writes one text, always the likeliest "
                "sub-word next, until the model ends it.",
            )
    if asked.stream_options is not None and not asked.stream:
        raise HTTPException(422, "stream_options is for stream: true; leave it out.")
    if None not in (asked.max_tokens, asked.max_completion_tokens) and asked.max_tokens != asked.max_completion_tokens:
        raise HTTPException(422, "max_tokens is the old name of max_completion_tokens; send one of them.")
    length = sum(len(one.text()) for one in asked.messages)
    note_size(1, length)
    if length > service.limits.max_characters:
        most = service.limits.max_characters
        raise HTTPException(413, f"The messages have {length} characters; send at most {most}.")
    for i, one in enumerate(asked.messages):
        refuse_half_characters(f"Message {i}", one.text())
    return asked.max_completion_tokens or asked.max_tokens


async def _masked(pieces: AsyncGenerator[Begun | str | End], stream: MaskedStream) -> AsyncGenerator[Begun | str | End]:
    """What may be the beginning of something personal waits for what comes next."""
    async with aclosing(pieces):
        async for piece in pieces:
            # Finding takes longer than passing on.
            if isinstance(piece, str):
                piece = await asyncio.to_thread(stream.add, piece)
            elif isinstance(piece, End) and (rest := await asyncio.to_thread(stream.rest)):
                yield rest
            if piece != "":
                yield piece


async def _from(first: Begun | str | End, rest: AsyncGenerator[Begun | str | End]) -> AsyncGenerator[str | End]:
    async with aclosing(rest):
        assert not isinstance(first, Begun)
        yield first
        async for piece in rest:
            assert not isinstance(piece, Begun)
            yield piece


class _Told:
    """An answer on its way."""

    def __init__(self, model: str, num_prompt: int, pieces: AsyncGenerator[str | End]) -> None:
        self._named = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._num_prompt = num_prompt
        self._pieces = pieces

    async def whole(self) -> dict[str, Any]:
        text = ""
        async for piece in self._pieces:
            if isinstance(piece, End):
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "message": message, "finish_reason": _reason(piece)}
                return {**self._named, "object": "chat.completion", "choices": [choice], "usage": self._usage(piece)}
            text += piece
        raise AssertionError("the writer said nothing of its end")

    async def events(self, *, with_usage: bool) -> AsyncIterator[str]:
        # Clients look for the role in the first event, and for text in those behind it.
        yield self._event({"role": "assistant", "content": ""}, None)
        try:
            with put_in_words(_WHAT):
                async for piece in until_due(self._pieces):
                    if isinstance(piece, str):
                        if piece:
                            yield self._event({"content": piece}, None)
                        continue
                    yield self._event({}, _reason(piece))
                    if with_usage:
                        yield self._line({"choices": [], "usage": self._usage(piece)})
        except HTTPException as error:
            # The status is sent by now.
            told = problem({"message": error.detail, "type": "server_error"})
            yield f"data: {json.dumps(told)}\n\n"
        yield "data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], reason: str | None) -> str:
        return self._line({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    def _line(self, content: dict[str, Any]) -> str:
        event = {**self._named, "object": "chat.completion.chunk", **content}
        return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"

    def _usage(self, end: End) -> dict[str, int]:
        new = end.num_new
        return {
            "prompt_tokens": self._num_prompt, "completion_tokens": new, "total_tokens": self._num_prompt + new
        }  # fmt: skip


def _reason(end: End) -> str:
    return "stop" if end.finished else "length"
