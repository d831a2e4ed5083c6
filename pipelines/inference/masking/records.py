"""Logs without personal data: every record is masked before a handler formats it, its traceback as well."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from pipelines.inference.masking.finders import Rules, find
from pipelines.inference.masking.replacing import mask
from pipelines.inference.masking.strings import each_string

RULES = Rules(cautious=True)
"""In a log a number too many is masked rather than one too few."""
_OWN = frozenset(vars(logging.makeLogRecord({}))) - {"msg", "args", "exc_info", "exc_text", "stack_info"}
"""What a record says of its place in the code, and is nobody's text."""
_MARK = "personal_data_masked"


def redact(text: str, rules: Rules = RULES) -> str:
    """A text for a log, a trace or a metric's label, its personal data replaced by tokens that nobody can read."""
    found = find(text, rules)
    return mask(text, found).text if found else text


class Redactor(logging.Filter):
    """Lets every record through, masked: its message with its arguments, its traceback, and whatever else is in it.

    It works on the record and not on the formatted line, so that a line of JSON stays one. The exception itself is
    taken off the record, since a handler could format it again. Names need a model, and are not found here.
    """

    def __init__(self, rules: Rules = RULES) -> None:
        super().__init__()
        self._rules = rules

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, _MARK, False):
            return True
        record.msg, record.args = self._text(_message(record)), None
        if record.exc_info:
            record.exc_text = record.exc_text or _formatted(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self._text(record.exc_text)
        if record.stack_info:
            record.stack_info = self._text(record.stack_info)
        for name, value in vars(record).items():
            if name not in _OWN and name not in ("msg", "args", "exc_text", "stack_info"):
                setattr(record, name, each_string(value, self._text))
        setattr(record, _MARK, True)
        return True

    def _text(self, text: str) -> str:
        return redact(text, self._rules)


def install(logger: logging.Logger, rules: Rules = RULES) -> None:
    """Mask what the handlers of a logger, and of all loggers below it, write from now on.

    A handler that is added later is not covered: call it again then, as often as wanted.
    """
    below = [
        other
        for name, other in list(logger.manager.loggerDict.items())
        if isinstance(other, logging.Logger) and (logger is logger.root or name.startswith(f"{logger.name}."))
    ]
    for one in (logger, *below):
        for handler in one.handlers:
            if not any(isinstance(had, Redactor) for had in handler.filters):
                handler.addFilter(Redactor(rules))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Whatever an argument's own __str__ raises. The handler would print the arguments as they are.
        return f"{record.msg} (its arguments do not fit, and are left out)"


def _formatted(error: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]) -> str:
    return "".join(traceback.format_exception(*error)).rstrip("\n")
