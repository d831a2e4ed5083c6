"""Kills random parts of a run at random moments, from outside, and compares what it learns with an untouched run.

    untouched   python -m jobs.train ... ──────────────────────────────▶ model
    chaos       python -m jobs.train ... ──✗ stage ──✗ data shard ──✗ driver
                python -m jobs.train ... ◀── the same command ─────────▶ model, bitwise the same

The killed are processes, by a signal that nothing can catch; what is being done at that moment is not asked.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.report.journal import Follower

DRIVER = "driver"
KINDS = {
    "ray::StageShell": "stage",
    "ray::SpareShell": "spare, or stage that was one",
    "ray::DataShell": "data shard",
    "ray::ServerShell": "parameter server",
}
"""What Ray calls the processes of actors."""
WEIGHTS = {"stage": 8, "spare, or stage that was one": 4, "data shard": 4, "parameter server": 6, DRIVER: 1}
"""How likely each kind is to be the next to lose one, where it has any. A lost driver costs the most time."""
HASTE = 0.25
"""How many of the kills come soon after the one before, whether or not it has been recovered from."""
SOON = 6.0
"""Seconds within which they come."""
STUCK = 600.0
"""Seconds without a new line in the journal after which a run has hung."""
LAST_LINES = 30
"""Of a failed run's output that are told: what its own error takes."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill."""

    seconds: float
    """Since the run began."""
    who: str
    step: int
    """The last step that was done."""
    in_recovery: bool
    """Whether no step was done since the kill before."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """A run that was attacked, to its end."""

    kills: tuple[Kill, ...]
    seconds: float
    submissions: int
    """How often its command was given."""
    exit_code: int
    """Of the last one."""
    ending: str = ""
    """Where it failed, the last lines of what it printed."""


def train_untouched(command: Sequence[str], log: Path) -> float:
    """Run a command to its end; returns the seconds.

    Raises:
        RuntimeError: it failed; says where its output is.
    """
    begin = time.monotonic()
    code = _start(command, log).wait()
    if code:
        raise RuntimeError(f"The untouched run ended with exit code {code}; its output is in {log}.")
    return time.monotonic() - begin


def attack(
    command: Sequence[str], folder: Path, logs: Path, *, seed: int, kills: int, spacing: float, tell: Tell
) -> Attacked:
    """Give a command that trains into `folder`, and give it again when its driver is lost, until it ends.

    Args:
        kills: how many processes are killed; fewer where the run ends before.
        spacing: seconds in which a kill comes after the first step since the one before.

    Raises:
        RuntimeError: the run hung.
    """
    return _Attack(command, folder, logs, seed=seed, kills=kills, spacing=spacing, tell=tell).run()


class _Attack:
    def __init__(
        self, command: Sequence[str], folder: Path, logs: Path, *, seed: int, kills: int, spacing: float, tell: Tell
    ) -> None:
        self._command, self._folder, self._logs, self._tell = command, folder, logs, tell
        self._chance, self._spacing = random.Random(seed), spacing
        self._wanted = kills
        self._done: list[Kill] = []
        self._begin = time.monotonic()
        self._progress = Follower(folder)

    def run(self) -> Attacked:
        submissions = 0
        while True:
            submissions += 1
            process = _start(self._command, self._logs / f"submission-{submissions}.log")
            code = self._watch(process)
            lost = code == -signal.SIGKILL or (code == 1 and self._gave_up(submissions))
            if not lost:
                ending = "\n".join(self._output(submissions).splitlines()[-LAST_LINES:]) if code else ""
                return Attacked(tuple(self._done), time.monotonic() - self._begin, submissions, code, ending)

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Kill now and then until the command ends; returns its exit code."""
        due = self._next()
        step, changed = self._progress.step(), time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.05)
            now = time.monotonic()
            if (latest := self._progress.step()) != step:
                step, changed = latest, now
            if now - changed > STUCK:
                _end(process)
                raise RuntimeError(f"The run has hung: nothing new in its journal for {STUCK:g} s, after step {step}.")
            if len(self._done) < self._wanted and due(now, step) and self._strike(process, step):
                due = self._next()

    def _next(self) -> Callable[[float, int], bool]:
        """When the next kill is due."""
        soon = bool(self._done) and self._chance.random() < HASTE
        at_step, wait = self._progress.step(), self._chance.uniform(0, SOON if soon else self._spacing)
        since = time.monotonic() if soon else None

        def due(now: float, step: int) -> bool:
            nonlocal since
            if since is None and step != at_step and step > 0:
                since = now
            return since is not None and now - since >= wait

        return due

    def _strike(self, process: subprocess.Popen[bytes], step: int) -> bool:
        """Kill one process; returns whether there was any."""
        found: dict[str, list[psutil.Process]] = {DRIVER: [psutil.Process(process.pid)]}
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error, IndexError):
                    kind = KINDS.get(child.cmdline()[0].partition(".")[0])
                    if kind is not None:
                        found.setdefault(kind, []).append(child)
        if len(found) == 1:
            return False
        kinds = sorted(found)
        (kind,) = self._chance.choices(kinds, [WEIGHTS[one] for one in kinds])
        victim = self._chance.choice(found[kind])
        try:
            victim.kill()
        except psutil.Error:
            return False
        before = self._done[-1].step if self._done else -1
        kill = Kill(round(time.monotonic() - self._begin, 1), kind, step, in_recovery=before == step)
        self._done.append(kill)
        self._tell(f"kill {len(self._done)}/{self._wanted}: a {kind}, after step {step}")
        return True

    def _gave_up(self, submission: int) -> bool:
        """Whether it ended since too many were killed with no step between them, as it says."""
        return "recovery.tries" in self._output(submission)

    def _output(self, submission: int) -> str:
        return (self._logs / f"submission-{submission}.log").read_text("utf-8", errors="replace")


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"COLUMNS": "120"})


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started."""
    children: list[Any] = psutil.Process(process.pid).children(recursive=True)
    for one in [*children, process]:
        with suppress(psutil.Error, OSError):
            one.kill()
