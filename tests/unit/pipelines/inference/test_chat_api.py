"""The chat interface without a server: with a hand-written writer, and with a tiny model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from threading import Event, Semaphore
from typing import Any

import httpx
import pytest

from pipelines.errors import UserError
from pipelines.inference.api import create_api
from pipelines.inference.chat_turns import in_threads
from pipelines.inference.chat_writer import End, Message, Say, Writer
from pipelines.inference.predictors import load_predictor
from pipelines.inference.service import Limits
from pipelines.inference.text_predictor import ChatPredictor, Prompt
from tests.unit.pipelines.inference.conftest import by_version
from tests.unit.pipelines.inference.test_every_predictor import saved

JSON = {"Content-Type": "application/json"}
pytestmark = pytest.mark.timeout(60)


class Echo:
    """Says the last message's letters, as many as it may."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def prompt(self, messages: Sequence[Message], most: int | None) -> tuple[list[int], int]:
        self.heard = list(messages)
        if messages[-1]["content"] == "long":
            raise UserError("There is no room.")
        return [ord(letter) for letter in messages[-1]["content"]], most or 9

    def write(self, prompt: Sequence[int], most: int, say: Say) -> End:
        if prompt == [ord("!")]:
            raise RuntimeError("private")
        for letter in prompt[:most]:
            if not say(chr(letter)):
                break
        if prompt[:1] == [ord("?")]:
            raise RuntimeError("private")
        return End(len(prompt) <= most, min(len(prompt) + 1, most))


async def nobody(inputs: list[Any]) -> list[Any | None]:
    raise AssertionError(f"{len(inputs)} inputs came to the predictor")


def post(
    body: Any, *, writer: Writer | None = None, path: str = "/v1/chat/completions", plain: bool = False
) -> httpx.Response:
    async def ask() -> httpx.Response:
        app = create_api(
            by_version(nobody),
            ChatPredictor,
            model="m",
            version=lambda: "1",
            limits=Limits(2, 20),
            key_sha256=None,
            write=None if plain else in_threads(writer or Echo()),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await (
                client.get(path) if body is None else client.post(path, content=json.dumps(body), headers=JSON)
            )

    return asyncio.run(ask())


def chat(*said: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in said], **more}


def events(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_message_is_answered_with_its_usage() -> None:
    reply = post(chat("abc")).json()
    assert reply.pop("id").startswith("chatcmpl-")
    assert reply.pop("created") > 0
    assert reply == {
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "abc"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_no_more_is_written_than_was_asked_for(name: str) -> None:
    reply = post(chat("abc", **{name: 2})).json()
    assert reply["choices"][0]["message"]["content"] == "ab"
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_all_messages_are_heard_whether_as_text_or_in_parts() -> None:
    writer = Echo()
    body = chat("a")
    parts = [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]
    body["messages"] += [{"role": "assistant", "content": "x"}, {"role": "user", "content": parts}]
    assert post(body, writer=writer).json()["choices"][0]["message"]["content"] == "bc"
    assert [(one["role"], one["content"]) for one in writer.heard] == [
        ("user", "a"),
        ("assistant", "x"),
        ("user", "bc"),
    ]


def test_a_stream_is_of_pieces_and_ends_with_the_usage_that_was_asked_for() -> None:
    found = events(post(chat("ab", stream=True, stream_options={"include_usage": True})))
    assert {one["object"] for one in found} == {"chat.completion.chunk"}
    assert len({one["id"] for one in found}) == 1
    assert [one["choices"] for one in found] == [
        [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "b"}, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        [],
    ]
    assert found[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert "usage" not in events(post(chat("ab", stream=True)))[-1]


def test_a_piece_is_sent_before_the_next_is_written() -> None:
    """The writer goes on only when a piece has been read; and ends when nobody reads any more."""
    read, ended = Semaphore(0), Event()

    class Waiting(Echo):
        def write(self, prompt: Sequence[int], most: int, say: Say) -> End:  # noqa: ARG002
            num_said, wanted = 1, say("first")
            while wanted:
                assert read.acquire(timeout=20)
                num_said, wanted = num_said + 1, say("more")
            ended.set()
            return End(False, num_said)

    async def ask() -> list[str]:
        app = create_api(
            by_version(nobody),
            ChatPredictor,
            model="m",
            version=lambda: "1",
            limits=Limits(2, 20),
            key_sha256=None,
            write=in_threads(Waiting()),
        )
        pieces: list[str] = []
        sent, enough = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not sent.is_set():
                sent.set()
                return {"type": "http.request", "body": json.dumps(chat("a", stream=True)).encode(), "more_body": False}
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            for line in message.get("body", b"").decode().split("\n\n"):
                if line.startswith("data: {"):
                    pieces.extend(one["delta"]["content"] for one in json.loads(line[6:])["choices"])
                    if pieces[-1]:
                        read.release()
                    if len(pieces) == 3:
                        enough.set()

        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"",
            "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("test", 1),
            "root_path": "", "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        await app(scope, receive, send)
        # The writer may go on, and learns from its next piece that nobody reads it.
        while not ended.is_set():
            read.release()
            await asyncio.sleep(0.001)
        return pieces

    assert asyncio.run(ask())[:3] == ["", "first", "more"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (chat("a", temperature=0.7), 422, "temperature must be 0 or left out: this endpoint writes one text"),
        (chat("a", top_p=0.5), 422, "top_p must be 1 or left out"),
        (chat("a", n=True), 422, "n must be 1 or left out"),
        (chat("a", stop="x"), 422, "stop must be [] or left out"),
        (
            chat("a", response_format={"type": "json_object"}),
            422,
            'response_format must be {"type": "text"} or left out',
        ),
        (chat("a", tools=[{"type": "function"}]), 422, "tools must be [] or left out"),
        (chat("a", stream_options={}), 422, "stream_options is for stream: true"),
        (chat("a", max_tokens=1, max_completion_tokens=2), 422, "max_tokens is the old name"),
        (chat("a", max_tokens=10_000), 422, "Send Content-Type: application/json and a body such as"),
        (chat("a", private=1), 422, "Send Content-Type: application/json and a body such as"),
        (chat(), 422, "Send Content-Type: application/json and a body such as"),
        (chat("a" * 11, "b" * 10), 413, "The messages have 21 characters; send at most 20."),
        (chat("a", "\ud800"), 422, "Message 1 holds half of a surrogate pair"),
        (chat("long"), 422, "There is no room."),
        (chat("long", stream=True), 422, "There is no room."),
        (chat("!"), 500, "The model failed on a chat."),
        ({**chat("a"), "model": "private"}, 404, "There is no such model here; 'm' is served."),
    ],
)
def test_what_is_not_done_is_refused_in_words_and_in_openai_s_form(body: Any, status: int, words: str) -> None:
    response = post(body)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["message"].startswith(words)
    assert error["type"] == ("server_error" if status == 500 else "invalid_request_error")
    assert "private" not in response.text


def test_what_fails_in_the_middle_of_a_stream_is_said_there() -> None:
    found = events(post(chat("?a", stream=True)))
    assert found[-1]["error"]["message"] == "The model failed on a chat."
    assert [one["choices"][0]["delta"].get("content") for one in found[:-1]] == ["", "?", "a"]


def test_settings_that_change_nothing_may_be_sent() -> None:
    body = chat("ab", temperature=0, top_p=1, n=1, stop=None, seed=5, user="u", logprobs=False, stream=False)
    assert post(body).json()["choices"][0]["message"]["content"] == "ab"


def test_a_model_of_plain_texts_has_no_chats_but_is_listed() -> None:
    assert post(chat("a"), plain=True).status_code == 404
    listed = post(None, path="/v1/models", plain=True).json()
    assert [(one["id"], one["object"]) for one in listed["data"]] == [("m", "model")]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_predictor(saved("causal-lm", tmp_path_factory.mktemp("model")), threads=1)


@pytest.mark.parametrize(("text", "most"), [("Where is Ann?", 20), ("it rains 北京", 7), ("", 1)])
def test_the_pieces_are_what_the_predictor_writes(text: str, most: int, predictor: Any) -> None:
    writer, pieces = predictor.writer(), []

    def say(piece: str) -> bool:
        pieces.append(piece)
        return True

    [written] = predictor.predict([Prompt(text, most)])
    prompt, room = writer.prompt([{"role": "user", "content": text}], most)
    end = writer.write(prompt, room, say)
    assert "".join(pieces) == written.text
    assert (end.finished, room) == (written.finished, most)
    assert 0 < end.num_new <= most
    assert len(pieces) > 1 or most == 1


def test_it_stops_when_no_more_is_wanted(predictor: Any) -> None:
    writer = predictor.writer()
    prompt, room = writer.prompt([{"role": "user", "content": "Where is Ann?"}], 20)
    whole = writer.write(prompt, room, lambda _: True)
    assert writer.write(prompt, room, lambda _: False).num_new < whole.num_new


def test_messages_without_room_are_refused_and_nothing_is_cut(predictor: Any) -> None:
    with pytest.raises(UserError, match=r"have \d+ sub-words and 5 more shall be written, but the model reads \d+"):
        predictor.writer().prompt([{"role": "user", "content": "it rains " * 4000}], 5)


def test_a_model_shorter_than_what_is_asked_for_writes_until_it_is_full(predictor: Any) -> None:
    [written] = predictor.predict([Prompt("Where is Ann?", 1000)])
    assert not written.finished
    assert written.text
