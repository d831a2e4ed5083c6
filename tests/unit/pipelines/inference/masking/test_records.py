"""Logs hold no personal data."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipelines.inference.masking.records import RULES, Redactor, install, redact

PERSONAL = ["13800138000", "jane@example.com", "11010519491231002X", "4111 1111 1111 1111", "GB82WEST12345698765432"]


class Lines(logging.Formatter):
    """Everything of a record as a line of JSON, as some handlers write it."""

    def format(self, record: logging.LogRecord) -> str:
        known = {"message": record.getMessage(), "error": record.exc_text, "stack": record.stack_info}
        if record.exc_info:
            known["error"] = self.formatException(record.exc_info)
        return json.dumps(known | {"user": getattr(record, "user", None)}, ensure_ascii=True)


@contextmanager
def logger(name: str, formatter: logging.Formatter | None = None) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    one = logging.getLogger(name)
    one.addHandler(handler)
    one.setLevel(logging.INFO)
    one.propagate = False
    try:
        yield one, written
    finally:
        one.removeHandler(handler)


def failing(text: str) -> None:
    raise ValueError(f"cannot read {text!r}")


@pytest.mark.parametrize("personal", PERSONAL)
@pytest.mark.parametrize("formatter", [None, Lines()])
def test_message_arguments_traceback_and_extras_are_masked(personal: str, formatter: logging.Formatter | None) -> None:
    with logger(f"motley-test.{personal}", formatter) as (log, written):
        install(log)
        log.info(f"read {personal}")
        log.info("read %s", personal)
        log.info("read %(text)s", {"text": personal})
        log.info("read %r", f"电话\n{personal}")
        log.info("read %s", json.dumps({"text": f"电话\n{personal}\n谢谢"}))
        log.info("read %s", f"电话{personal}".encode())
        log.info("read", extra={"user": {"texts": [personal]}}, stack_info=True)
        try:
            try:
                failing(personal)
            except ValueError as error:
                raise RuntimeError(f"again: {personal}") from error
        except RuntimeError:
            log.exception("failed on %s", [personal])
        text = written.getvalue()
    assert personal not in text
    assert "RuntimeError: again: [" in text
    assert "in failing" in text


def test_a_line_of_json_stays_one() -> None:
    with logger("motley-test.json", Lines()) as (log, written):
        install(log)
        log.info('{"text": "%s", "at": 1730743168.5}', "13800138000")
    assert json.loads(json.loads(written.getvalue())["message"]) == {"text": "[PHONE]", "at": 1730743168.5}


def test_arguments_that_do_not_fit_are_left_out() -> None:
    with logger("motley-test.unfit") as (log, written):
        install(log)
        log.info("read %d of jane@example.com", "13800138000")
    assert written.getvalue() == "read %d of [EMAIL] (its arguments do not fit, and are left out)\n"


def test_records_of_loggers_below_are_masked_wherever_their_handlers_are() -> None:
    with logger("motley-test.top") as (top, above), logger("motley-test.top.below") as (below, own):
        below.propagate = True
        install(top)
        install(top)
        below.info("13800138000")
        assert [len(handler.filters) for handler in (*top.handlers, *below.handlers)] == [1, 1]
    assert (above.getvalue(), own.getvalue()) == ("[PHONE]\n", "[PHONE]\n")


def test_a_record_without_personal_data_is_as_before() -> None:
    record = logging.makeLogRecord({"msg": "step %d: loss %.2f", "args": (12, 0.5), "levelno": 20, "name": "motley"})
    assert Redactor().filter(record) is True
    assert record.getMessage() == "step 12: loss 0.50"


@pytest.mark.parametrize(
    "line",
    [
        "Model loaded, ready to answer",
        "step 120 of 1000: loss 0.5312, 12.5 s, lr 2e-05",
        "2026-11-27 07:31:22,123 INFO serving.py:120 -- 127.0.0.1:8000",
        "run 9f86d081884c7d659a2feaa0c55ad015 at models:/ner/3",
    ],
)
def test_what_operators_need_is_left(line: str) -> None:
    assert redact(line) is line


class Unfinished:
    def __str__(self) -> str:
        raise KeyError("jane@example.com")


@pytest.mark.parametrize("message", ["%s", "%s %s", "%(x)s", "%"])
@pytest.mark.parametrize("arguments", [(Unfinished(),), ({"y": "13800138000"},), ()])
def test_a_log_never_raises_and_says_nothing_of_what_failed(message: str, arguments: tuple[Any, ...]) -> None:
    with logger("motley-test.raises") as (log, written):
        install(log)
        log.info(message, *arguments)
    assert "jane@" not in written.getvalue()
    assert "13800138000" not in written.getvalue()


def test_logs_are_masked_by_rules_that_need_no_words_beside_a_number() -> None:
    assert RULES.cautious
    assert redact("111222333") != "111222333"
