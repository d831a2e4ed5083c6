"""The page at `/` in headless Chromium: what a person sees of each kind of output."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from pipelines.errors import UserError
from pipelines.inference.answer_predictor import Answer, AnswerPredictor
from pipelines.inference.api import create_api
from pipelines.inference.class_predictor import (
    Label,
    LabelPredictor,
    Labels,
    LabelsPredictor,
    Number,
    NumberPredictor,
)
from pipelines.inference.credentials import hash_key
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.explain import Explained, Token
from pipelines.inference.faithfulness import Faithfulness
from pipelines.inference.mask_predictor import Guess, Guesses, MaskPredictor
from pipelines.inference.predictor import Predictor
from pipelines.inference.service import Limits
from pipelines.inference.text_predictor import TranslationPredictor, Written
from pipelines.inference.vector_predictor import Vector, VectorPredictor
from pipelines.inference.web_page import FILES, POLICY
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(120)
browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def app_of(predictor: type[Predictor], output: Any, *, key: str | None = None, explain: Any = None) -> FastAPI:
    """An endpoint that answers whatever it is asked with one output."""

    async def answer(inputs: list[Any]) -> list[Any]:
        return [output for _ in inputs]

    limits = Limits(max_inputs=4, max_characters=200)
    return create_api(
        by_version(answer),
        predictor,
        model="tiny",
        version=lambda: "7",
        limits=limits,
        key_sha256=key and hash_key(key),
        explain=explain,
    )


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a port of this machine; its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        # Whoever connects before it has begun waits in the socket's queue.
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def shown(app: FastAPI, folder: Path, *, shot: Path | None = None, dark: bool = False, **asked: str) -> str:
    """What Chromium makes of the page when its address asks this."""
    with served(app) as url:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
        command += [
            "--no-proxy-server",
            "--virtual-time-budget=20000",
            f"--blink-settings=preferredColorScheme={int(not dark)}",
        ]
        command += ["--window-size=820,1100", f"--screenshot={shot}"] if shot else ["--dump-dom"]
        address = f"{url}/#{urlencode(asked)}" if asked else f"{url}/"
        done = subprocess.run([*command, address], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def section(dom: str, name: str) -> str:
    [found] = re.findall(rf'<section id="{name}"[^>]*>(.*?)</section>', dom, re.DOTALL)
    return str(found)


def said(markup: str) -> str:
    """Its text alone."""
    return html.unescape(re.sub(r"<[^>]*>", " ", markup))


@browser
def test_entities_are_marked_at_their_places_behind_emoji_and_among_chinese(tmp_path: Path) -> None:
    text = "😀👍🏽 Ada 住在北京 🇳🇴!"
    found = [Entity("PER", 4, 7, "Ada", 0.99), Entity("LOC", 10, 12, "北京", 0.875)]
    assert [text[one.start : one.end] for one in found] == ["Ada", "北京"]
    dom = shown(app_of(EntityPredictor, Entities(found)), tmp_path, text=text)
    paragraph = re.findall(r'<p class="text"[^>]*>(.*?)</p>', section(dom, "result"))[0]
    bare = re.sub(r'<span class="type".*?</span>', "", paragraph)
    assert re.sub(r"<mark [^>]*>", "<mark>", bare) == "😀👍🏽 <mark>Ada</mark> 住在<mark>北京</mark> 🇳🇴!"
    assert "87.5 %" in said(section(dom, "result"))
    assert "<title>tiny - Motley</title>" in dom


@browser
def test_what_people_and_models_write_stays_text(tmp_path: Path) -> None:
    output = Entities([Entity(HOSTILE, 0, 8, HOSTILE, 0.5)])
    dom = shown(app_of(EntityPredictor, output), tmp_path, text=HOSTILE)
    assert "owned</title>" not in dom
    assert "<img src=" not in section(dom, "result")
    assert "<script>" not in section(dom, "result")
    assert HOSTILE in said(section(dom, "result"))


async def why(_: Any, target: str | int | None, steps: int) -> Explained:
    if target == 1:
        raise UserError("There is no entity 1.")
    tokens = [Token("text", 0, 1, "a", 0.5), Token("text", 2, 3, "b", -0.25)]
    return Explained("LOC", 0.75, 0.5, tokens, 0.001, steps, Faithfulness(0.4, 0.1, 0.2, 0.3))


@browser
def test_the_explanation_colours_what_speaks_for_and_against(tmp_path: Path) -> None:
    app = app_of(EntityPredictor, Entities([Entity("LOC", 0, 1, "a", 0.75)]), explain=why)
    dom = section(shown(app, tmp_path, text="a b", why="0"), "why")
    assert re.findall(r'class="token (\w+)" title="(.\d\.\d+)"[^>]*>(\w)<', dom) == [
        ("for", "+0.5000", "a"),
        ("against", "-0.2500", "b"),
    ]
    assert re.search(r"speak most for it .* 0\.4000 +0\.2000", said(dom))
    failed = shown(app, tmp_path, text="a b", why="1")
    assert '<p id="error" role="alert">There is no entity 1.</p>' in failed


@browser
@pytest.mark.parametrize(
    ("predictor", "output", "asked", "words"),
    [
        (LabelPredictor, Label("rain", 0.75, {"rain": 0.75, "sun": 0.25}), {"text": "x"}, ["rain 75.0 %", "sun"]),
        (LabelsPredictor, Labels([], {"rain": 0.25}), {"text": "x", "pair": "y"}, ["No label is likelier than not."]),
        (NumberPredictor, Number(3.25), {"text": "x"}, ["3.250"]),
        (AnswerPredictor, Answer("Oslo", 2, 6, 0.5), {"question": "?", "context": "😀 Oslo."}, ["😀  Oslo ."]),
        (AnswerPredictor, Answer(None, None, None, 0.5), {"question": "?", "context": "x"}, ["It is not there 50.0 %"]),
        (TranslationPredictor, Written("早上好", False, 2), {"text": "x"}, ["早上好", "2 sub-words"]),
        (VectorPredictor, Vector([0.6, -0.8]), {"text": "x"}, ["2  values", "length 1.000"]),
        (MaskPredictor, Guesses([[Guess("capital", 0.5)]]), {"text": "the [MASK] of"}, ["the  capital  of", "50.0 %"]),
    ],
)  # fmt: skip
def test_every_kind_of_output_is_shown(
    predictor: type[Predictor], output: Any, asked: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    text = re.sub(r" {2,}", "  ", said(section(shown(app_of(predictor, output), tmp_path, **asked), "result")))
    missing = [one for one in words if re.sub(" +", " ", one) not in re.sub(" +", " ", text)]
    assert missing == [], text


@browser
def test_a_refusal_is_shown_in_the_endpoint_s_words_and_the_key_has_a_field(tmp_path: Path) -> None:
    dom = shown(app_of(EntityPredictor, Entities([]), key="k"), tmp_path, text="x")
    assert '<p id="error" role="alert">Send the endpoint\'s key as the header Authorization: Bearer KEY.</p>' in dom
    assert re.search(r'<div id="key-row" class="field">', dom)
    assert re.search(r'<section id="result"[^>]* hidden=""', dom)


def get(app: FastAPI, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", FILES)
def test_its_files_need_no_key_and_ask_nobody_else(path: str) -> None:
    response = get(app_of(EntityPredictor, Entities([]), key="k"), path)
    assert response.status_code == 200
    assert response.headers.get_list("content-security-policy")[0] == POLICY
    assert not re.search(
        r"(src|href)=\"(?!page\.|docs\"|data:)|url\(|@import|innerHTML|\son\w+=\"|\sstyle=\"", response.text
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", response.text)


def test_about_says_how_to_ask() -> None:
    told = get(app_of(TranslationPredictor, None, key="k"), "/v1/about").json()
    assert told["takes"] == [
        {"name": "text", "kind": "text", "default": None, "required": True},
        {"name": "max_new_tokens", "kind": "number", "default": 128, "required": False},
    ]
    assert (told["model"], told["version"], told["task"]) == ("tiny", "7", "seq2seq-lm")
    assert (told["gives"], told["explains"], told["asks_for_key"]) == ("Written", False, True)
    assert told["limits"] == {"inputs": 4, "characters": 200}
