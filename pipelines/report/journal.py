"""What happened in a run, line by line, for whoever watches it from outside or reads it after a crash.

    RUN/journal.jsonl    {"at": 1764190000.1, "what": "step", "step": 12, "epoch": 1, "loss": 0.52, "rows": [5, 3]}

A line is written when it has happened, and stays when the process is killed. A run that goes on appends to it: of a
step that is there twice, the last line counts. Rows are numbers of examples in the training split, never their text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

What = Literal["began", "step", "scored", "recovered", "moved", "straggling", "skipped", "saved", "finished"]
NAME = "journal.jsonl"


class Journal:
    """The file of one run, open for appending."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        torn = path.is_file() and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if torn:
            # Of a process that was killed while it wrote.
            self._file.write("\n")

    def write(self, what: What, **facts: Any) -> None:
        """One line."""
        self._file.write(json.dumps({"at": round(time.time(), 3), "what": what} | facts) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines so far; one that is cut short by a crash, or is being written, is passed over."""
    path = folder / NAME
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            with suppress(ValueError):
                yield json.loads(line)


class Follower:
    """Reads a journal while it grows."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._at, self._step = 0, 0

    def news(self) -> list[dict[str, Any]]:
        """The lines since the last call."""
        lines = []
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._at)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._at += len(line)
                    with suppress(ValueError):
                        lines.append(json.loads(line))
        return lines

    def step(self) -> int:
        """The step that was told last; 0 before the first."""
        for line in self.news():
            self._step = line.get("step", self._step)
        return self._step


def seconds_of_steps(folder: Path) -> float:
    """From the first step's end to the last one's."""
    times = [line["at"] for line in read_journal(folder) if line["what"] == "step"]
    return float(max(times) - min(times)) if times else 0.0


def rows_by_epoch(folder: Path) -> dict[int, list[int]]:
    """The examples that each epoch's steps learnt from, as far as they count."""
    steps = {line["step"]: line for line in read_journal(folder) if line["what"] == "step"}
    rows: dict[int, list[int]] = {}
    for number in sorted(steps):
        rows.setdefault(steps[number]["epoch"], []).extend(steps[number]["rows"])
    return rows
