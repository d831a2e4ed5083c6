"""A golden set: inputs that a version must answer before it gets any request.

{"input": "Ada moved to Berlin.", "output": {"entities": [{"type": "LOC", "start": 13, "end": 19}]}}
{"input": {"text": "Nobody moved."}}                       no output: what the champion answers is expected
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipelines.errors import UserError
from pipelines.inference.batcher import Overloaded
from pipelines.inference.predictor import Predictor, takes_text
from pipelines.inference.predictors import predictor_class
from pipelines.inference.registry import ModelRef, fetch
from pipelines.versions.agreement import agreement
from pipelines.versions.lane import Lane

FILE = "golden.jsonl"
"""Beside the model, in its folder."""
AT_ONCE = 16
"""Inputs in one request, so that what people ask need not wait long for them."""
_FORM = '{"input": INPUT} or {"input": INPUT, "output": OUTPUT}, as /v1/predict takes and gives them'


@dataclass(frozen=True, slots=True)
class Golden:
    given: Any
    """One of the predictor's `takes`."""
    expected: Any = None
    """An output as JSON, of which only what is compared need be there; None: what the champion answers."""


class Failed(Exception):
    """The version must not be served: says why, in a sentence's end, without a text."""


def read_golden(path: Path, predictor: type[Predictor]) -> list[Golden]:
    """The golden set in a file for what the predictor takes and gives.

    Raises:
        UserError: it cannot be read, holds nothing, or has a line of another form.
    """
    form: Any = predictor.takes
    adapter: TypeAdapter[Any] = TypeAdapter(form | str if takes_text(predictor) else form)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"The golden set {path} cannot be read ({type(error).__name__}): write {_FORM}.") from None
    rows = [_row(path, n, line, adapter, predictor) for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"The golden set {path} holds nothing: write a line for each input, {_FORM}.")
    return rows


def _row(path: Path, n: int, line: str, adapter: TypeAdapter[Any], predictor: type[Predictor]) -> Golden:
    """Messages name the line and never repeat it: it may hold somebody's text."""
    try:
        said = json.loads(line)
        assert isinstance(said, dict)
        assert {"input"} <= set(said) <= {"input", "output"}
    except (ValueError, RecursionError, AssertionError):
        raise UserError(f"Line {n} of the golden set {path} is not of the form {_FORM}.") from None
    try:
        given = adapter.validate_python(said["input"])
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise UserError(f"The input in line {n} of the golden set {path} is none of this model ({why}).") from None
    expected = said.get("output")
    if expected is not None:
        try:
            # With an output of the model's own, so that one of another task is found out.
            agreement(predictor.example[1], expected)
            agreement(expected, expected)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise UserError(f"The output in line {n} of the golden set {path} is none of this model.") from None
    return Golden(predictor.takes(given) if isinstance(given, str) else given, expected)


def find_golden(ref: ModelRef, *, file: str | None, tracking_uri: str | None) -> list[Golden]:
    """The golden set for a version: `file`, or its own; empty where there is none. Waits for the store.

    Raises:
        UserError: as `read_golden`, or the version cannot be fetched.
    """
    folder, _ = fetch(ref.uri, tracking_uri=tracking_uri)
    path = Path(file) if file is not None else folder / FILE
    return read_golden(path, predictor_class(folder)) if file is not None or path.is_file() else []


def check_forms(candidate: Lane, champion: Lane) -> None:
    """
    Raises:
        Failed: it takes or gives something else than the champion.
    """
    for what, ours, theirs in (("takes", candidate.takes, champion.takes), ("gives", candidate.gives, champion.gives)):
        if ours is not theirs:
            raise Failed(f"it {what} {ours.__name__}, and the champion {theirs.__name__}")


async def check(
    candidate: Lane,
    champion: Lane,
    golden: Sequence[Golden],
    *,
    least: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> float:
    """Ask a candidate all of it, and the champion what has no expected output. Returns the mean agreement.

    Raises:
        Failed: it fails on an input that the champion answers, or agrees by less than `least`.
        Exception: what either raises, but Overloaded: then it is asked again later.
    """

    async def ask(lane: Lane, rows: Sequence[Golden]) -> list[Any | None]:
        while True:
            try:
                return await lane.answer([row.given for row in rows])
            except Overloaded as error:
                await sleep(error.seconds)

    found: list[float] = []
    for first in range(0, len(golden), AT_ONCE):
        rows = golden[first : first + AT_ONCE]
        answers = await ask(candidate, rows)
        open_rows = [row for row in rows if row.expected is None]
        champions = iter(await ask(champion, open_rows) if open_rows else [])
        for n, (row, answer) in enumerate(zip(rows, answers, strict=True), first + 1):
            wanted = next(champions) if row.expected is None else row.expected
            if wanted is None:
                # The champion fails on it, too.
                continue
            if answer is None:
                raise Failed(f"it fails on golden input {n}")
            found.append(agreement(answer, wanted))
    mean = sum(found) / len(found) if found else 1.0
    if mean < least:
        raise Failed(f"it agrees with the golden set by {mean:.3f}, below {least:g} (serve.golden_agreement)")
    return mean
