"""The door, with the interface behind it, asked as a server would ask."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.inference import audit
from pipelines.inference.access import Access
from pipelines.inference.api import create_api
from pipelines.inference.credentials import Caller, Credentials, Refused, Unavailable, hash_key
from pipelines.inference.entity_predictor import Entities, EntityPredictor
from pipelines.inference.guard import Door, Guard, needs
from pipelines.inference.keys import add
from pipelines.inference.limits import Buckets, Leases
from pipelines.inference.predictor import Text
from pipelines.inference.rate import Rate
from pipelines.inference.service import Limits
from pipelines.serve_settings import JwtConfig
from tests.unit.pipelines.inference.conftest import by_version

pytestmark = pytest.mark.timeout(60)

NOW = datetime(2026, 11, 27, 7, tzinfo=UTC)
SECRET = "Xq7confidential"
LIMITS = Limits(max_inputs=3, max_characters=100)


class Known(Credentials):
    """Callers by what they send: the door does not care how they prove it."""

    def claims(self, text: str) -> bool:
        return text != "of no kind"

    async def caller(self, text: str) -> Caller:
        if text == "broken":
            raise Unavailable("its keys cannot be read")
        if text not in ("reader", "all", "seldom"):
            raise Refused("Not you.")
        scopes = {"reader": {"predict"}, "seldom": {"predict"}, "all": {"predict", "explain", "admin"}}[text]
        return Caller(text, frozenset(scopes), Rate(2, 60) if text == "seldom" else None)


class Ticks:
    now = 50.0

    def __call__(self) -> float:
        return self.now


async def find(inputs: list[Text]) -> list[Entities | None]:
    if inputs[0].text == "fail":
        # No output: what is made of it fails.
        return [3]  # type: ignore[list-item]
    return [Entities([]) for _ in inputs]


def behind(door: Door, ticks: Ticks | None = None) -> FastAPI:
    """The interface behind a door that the test made."""
    app = create_api(by_version(find), EntityPredictor, model="m", version=lambda: "1", limits=LIMITS, key_sha256=None)
    (guard,) = (layer for layer in app.user_middleware if layer.cls is Guard)
    guard.kwargs |= {"door": door, "wall": NOW.timestamp, "ticks": ticks or Ticks()}

    @app.get("/v1/explain")
    async def explain() -> dict[str, str]:
        return {}

    return app


def ask(app: FastAPI, *requests: httpx.Request) -> list[httpx.Response]:
    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [await client.send(request) for request in requests]

    return asyncio.run(all_of_them())


def post(key: str | None = "reader", body: Any = None, path: str = "/v1/predict", **headers: str) -> httpx.Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        given["Authorization"] = f"Bearer {key}"
    return httpx.Request("POST", f"http://test{path}", json=body or {"inputs": "a"}, headers=given)


DOOR = Door((Known(),))


def status_and_error(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]


def test_every_refusal_is_json_that_says_what_to_do() -> None:
    app = behind(DOOR)
    explain = httpx.Request("GET", "http://test/v1/explain", headers={"Authorization": "Bearer reader"})
    answers = ask(
        app, post(None), post("wrong"), post("of no kind"), explain, post(body={"inputs": ["a"] * 4}),
        post(body={"inputs": 3}), post("broken"), post(body={"inputs": "x" * 99_999}),
    )  # fmt: skip
    how = "Send the endpoint's key as the header Authorization: Bearer KEY."
    assert [status_and_error(answer) for answer in answers[:5]] == [
        (401, how),
        (401, "Not you."),
        (401, f"{how} The one that came is not known here."),
        (403, "This needs the scope explain, which your key or token lacks; ask for one that has it."),
        (413, "4 inputs in one request; send at most 3 and repeat."),
    ]
    assert status_and_error(answers[5])[0] == 422
    assert status_and_error(answers[6]) == (
        503,
        "The endpoint can let nobody in just now: its keys cannot be read. Ask again in 5 s.",
    )
    assert status_and_error(answers[7])[0] == 413
    assert [answer.headers.get("WWW-Authenticate") for answer in answers[:4]] == [
        "Bearer",
        'Bearer error="invalid_token"',
        'Bearer error="invalid_token"',
        'Bearer error="insufficient_scope", scope="explain"',
    ]
    assert answers[6].headers["Retry-After"] == "5"


def test_a_failure_of_the_endpoint_is_json_too_and_goes_on_to_the_server(caplog: pytest.LogCaptureFixture) -> None:
    (answer,) = ask(behind(DOOR), post(body={"inputs": "fail"}))
    assert status_and_error(answer) == (
        500,
        f"The endpoint failed; its log says why. Report the request's id {answer.headers['X-Request-ID']}.",
    )
    assert caplog.records == []

    async def once() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(behind(DOOR)), base_url="http://test") as client:
            await client.send(post(body={"inputs": "fail"}))

    with pytest.raises(TypeError):
        asyncio.run(once())


def test_who_asks_too_often_is_told_when_to_ask_again() -> None:
    ticks = Ticks()
    app = behind(replace(DOOR, limiter=Leases(Buckets(ticks).ask, ticks)), ticks)
    first, second, third, other = ask(app, post("seldom"), post("seldom"), post("seldom"), post("reader"))
    assert [answer.status_code for answer in (first, second, other)] == [200, 200, 200]
    assert status_and_error(third) == (429, "This key may ask 2 times in 60 s; ask again in 30 s.")
    assert third.headers["Retry-After"] == "30"
    assert third.headers["RateLimit"] == '"key";r=0;t=30'
    assert [answer.headers.get("RateLimit-Policy") for answer in (first, third, other)] == [
        '"key";q=2;w=60',
        '"key";q=2;w=60',
        None,
    ]
    ticks.now += 30
    assert [answer.status_code for answer in ask(app, post("seldom"), post("seldom"))] == [200, 429]


def test_a_count_that_cannot_be_reached_lets_nobody_in() -> None:
    async def unreachable(who: str, rate: Rate, n: int) -> float:  # noqa: ARG001
        raise Unavailable("its count of requests is gone")

    door = replace(DOOR, limiter=Leases(unreachable))
    assert [answer.status_code for answer in ask(behind(door), post("seldom"), post("reader"))] == [503, 200]


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/v1/predict", "predict"),
        ("/v1/explain", "explain"),
        ("/v1/explain/", "explain"),
        ("/v1/explained", "predict"),
        ("/admin", "admin"),
        ("/admin/x", "admin"),
        ("/metrics", "metrics"),
        ("/", "predict"),
    ],
)
def test_what_a_path_needs(path: str, right: str) -> None:
    assert needs(path) == right


def test_under_a_prefix_the_same_paths_are_open_and_closed() -> None:
    async def statuses() -> list[int]:
        transport = httpx.ASGITransport(behind(DOOR), root_path="/served")
        async with httpx.AsyncClient(transport=transport, base_url="http://test/served") as client:
            key = {"Authorization": "Bearer reader"}
            return [
                (await client.get("/healthz")).status_code,
                (await client.get("/v1/explain")).status_code,
                (await client.get("/v1/explain", headers=key)).status_code,
            ]

    assert asyncio.run(statuses()) == [200, 401, 403]


@pytest.mark.parametrize("tls", [False, True])
def test_every_answer_has_the_security_headers(tls: bool) -> None:
    app = behind(replace(DOOR, tls=tls))
    health = httpx.Request("GET", "http://test/healthz")
    for answer in ask(app, health, post(), post(None), post(path="/nothing"), post(body={"inputs": "fail"})):
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers.get("Strict-Transport-Security") == ("max-age=31536000" if tls else None)
        assert "Access-Control-Allow-Origin" not in headers


def test_browsers_may_ask_from_the_listed_origins_only() -> None:
    def preflight(origin: str) -> httpx.Request:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        return httpx.Request("OPTIONS", "http://test/v1/predict", headers=headers)

    ours, theirs = "https://app.example.org", "https://evil.example.org"
    app = behind(replace(DOOR, cors=(ours,)))
    allowed, refused, answered, told, other = ask(
        app, preflight(ours), preflight(theirs), post(Origin=ours), post(None, Origin=ours), post(Origin=theirs)
    )
    origins = [
        answer.headers.get("Access-Control-Allow-Origin") for answer in (allowed, refused, answered, told, other)
    ]
    assert origins == [ours, None, ours, ours, None]
    assert (allowed.status_code, refused.status_code, told.status_code) == (200, 400, 401)
    assert "Access-Control-Allow-Credentials" not in answered.headers
    assert "X-Content-Type-Options" in allowed.headers
    # Closed, a preflight is a request without a key.
    assert ask(behind(DOOR), preflight(ours))[0].status_code == 401


def test_a_request_keeps_the_id_it_came_with_if_that_is_one() -> None:
    app = behind(DOOR)
    kept, odd, new = ask(app, post(X_Request_ID="abc-1.2"), post(X_Request_ID='a"b'), post())
    assert "X-Request-ID" not in kept.headers
    assert {len(answer.headers["X-Request-ID"]) for answer in (odd, new)} == {32}


# ---- the audit log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    before = audit.logger.handlers[:], audit.logger.propagate, audit.logger.level
    yield tmp_path / "logs" / "audit.jsonl"
    for handler in audit.logger.handlers:
        handler.close()
    audit.logger.handlers[:], audit.logger.propagate = before[0], before[1]
    audit.logger.setLevel(before[2])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_request_is_a_line_that_says_who_and_what_but_no_text_and_no_key(log: Path) -> None:
    audit.audit_to(log)
    # The second replica of a process that has one already.
    audit.audit_to(log)
    ask(
        behind(DOOR),
        post("all", {"inputs": ["ab", SECRET]}, X_Request_ID="one"),
        post(SECRET, X_Request_ID="two"),
        post(None, path=f"/v1/predict?text={SECRET}", X_Request_ID="three"),
        post(path=f"/{SECRET}", X_Request_ID="four"),
        post(body={"inputs": "fail"}, X_Request_ID="five"),
        post(path="/v1/explain", X_Request_ID="six"),
    )
    common = {"trace": None, "time": "2026-11-27T07:00:00.000Z", "method": "POST", "milliseconds": 0.0}
    unknown = {"who": None, "inputs": None, "characters": None}
    assert lines(log) == [
        common
        | {"request": "one", "who": "all", "path": "/v1/predict", "status": 200}
        | {"inputs": 2, "characters": 2 + len(SECRET)},
        common | unknown | {"request": "two", "path": "/v1/predict", "status": 401},
        common | unknown | {"request": "three", "path": "/v1/predict", "status": 401},
        common | unknown | {"request": "four", "who": "reader", "path": None, "status": 404},
        common
        | {"request": "five", "who": "reader", "path": "/v1/predict", "status": 500}
        | {"inputs": 1, "characters": 4},
        common | unknown | {"request": "six", "who": "reader", "path": "/v1/explain", "status": 403},
    ]
    assert SECRET not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_audit_log_that_was_moved_away_goes_on_in_a_new_file(log: Path) -> None:
    audit.audit_to(log)
    ask(behind(DOOR), post())
    log.rename(log.with_suffix(".1"))
    ask(behind(DOOR), post(), post())
    assert (len(lines(log.with_suffix(".1"))), len(lines(log))) == (1, 2)


def test_an_audit_log_that_cannot_be_written_is_refused(tmp_path: Path, log: Path) -> None:  # noqa: ARG001
    with pytest.raises(UserError, match=r"cannot be written .* change serve.audit"):
        audit.audit_to(tmp_path)


def test_without_a_file_the_log_goes_where_logging_sends_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=audit.logger.name):
        ask(behind(DOOR), post(X_Request_ID="one"))
    assert [json.loads(record.getMessage())["request"] for record in caplog.records] == ["one"]


# ---- what the config makes of it


def test_a_key_file_a_token_and_the_single_key_are_ways_through_one_door(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _, text = add(path, "ada", scopes=["predict"], expires=None, rate="1/h", now=NOW)
    jwt = JwtConfig(issuer="i", audience="a", jwks=str(tmp_path / "jwks.json"))
    made: dict[str, Any] = {"model": "m", "version": lambda: "1", "limits": LIMITS}
    app = create_api(by_version(find), EntityPredictor, **made, key_sha256=None, access=Access(keys=str(path), jwt=jwt))
    answers = ask(app, post(text), post(text), post("a.b.c"), post("chosen"), post(None))
    assert [answer.status_code for answer in answers] == [200, 429, 401, 401, 401]
    app = create_api(by_version(find), EntityPredictor, **made, key_sha256=hash_key("chosen"))
    assert [answer.status_code for answer in ask(app, post("chosen"), post(text))] == [200, 401]
    app = create_api(by_version(find), EntityPredictor, **made, key_sha256=None)
    assert [answer.status_code for answer in ask(app, post(None))] == [200]


# ---- hostile headers

VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"", b"Bearer", b"Bearer ", b"bearer\treader", b"Bearer reader reader", b"Basic reader", b"Bearer \xff",
        b"Bearer mtl_000000000000_x", b"Bearer a.b.c", b"Bearer ...", b"9" * 5000, b"-1", b"1e3", b"\xb2", b"0x10",
        b"18446744073709551616", b"Bearer " + b"a" * 20_000,
    ]),
)  # fmt: skip
NAMES = st.sampled_from([b"authorization", b"content-length", b"x-request-id", b"origin", b"content-type"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_whatever_the_headers_hold_the_answer_is_a_refusal(
    hostile_app: FastAPI, headers: list[tuple[bytes, bytes]]
) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/predict", "raw_path": b"/v1/predict", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "", "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(hostile_app(scope, receive, send))
    assert sent[0]["status"] in (401, 413)
    assert set(json.loads(sent[1]["body"])) == {"error"}


@pytest.fixture(scope="module")
def hostile_app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """With real ways in, of which no made-up header is one."""
    folder = tmp_path_factory.mktemp("door")
    add(folder / "keys.json", "ada", scopes=["predict"], expires=None, rate=None, now=NOW)
    (folder / "jwks.json").write_text('{"keys": []}')
    jwt = JwtConfig(issuer="i", audience="a", jwks=str(folder / "jwks.json"))
    access = Access(keys=str(folder / "keys.json"), jwt=jwt, cors=("https://app.example.org",), rate=Rate(1, 60))
    made: dict[str, Any] = {"model": "m", "version": lambda: "1", "limits": LIMITS}
    return create_api(by_version(find), EntityPredictor, **made, key_sha256=hash_key("k" * 43), access=access)
