"""One case: a reader meets a file, and either reads it or says in a UserError what is wrong with it."""

from __future__ import annotations

import builtins
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, seed, settings

from pipelines.errors import UserError


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


CASES = int(os.environ.get("FUZZ_CASES", "40"))
"""Of each kind; few enough to sit in `make test`."""
SEED = os.environ.get("FUZZ_SEED")
"""Without one the cases are the same every time."""
SECONDS = 5
"""Of the processor, that one case may take."""
MEMORY = 1 << 30
"""Bytes by which one case may grow the process: files here are small, whatever sizes they claim."""
CANARY = "canary"
"""In the files beside the folder that a reader is given: none of them is its business."""

_NAMES = "|".join(name for name, kind in vars(builtins).items() if _is_exception(kind))
RAW = re.compile(rf"\b(Traceback|{_NAMES})\b")
"""What only a programmer can read."""


def fuzzed(test: Callable[..., None], cases: int = CASES) -> Callable[..., None]:
    """As many cases as are asked for: the same ones every time, or those of the seed."""
    chosen = settings(
        max_examples=cases,
        derandomize=SEED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )(test)
    return chosen if SEED is None else seed(int(SEED))(chosen)


class Trial:
    """The folder that cases of one kind share, and how they went."""

    def __init__(self, place: Path) -> None:
        self.given = place / "given"
        self.given.mkdir()
        self.place = place
        self.counts: dict[str, list[int]] = {}
        """By what was tried: how often it was read, and how often refused."""

    def read(self, what: str, reader: Callable[[], Any], *, holds: bool = False) -> Any:
        """What the reader gives, or the UserError that it raises.

        Args:
            holds: it may make something in the folder that is gone when it ends.

        Raises:
            AssertionError: it takes too long or too much memory, changes a file, opens one that it was not given, or
                refuses in words that are none.
        """
        count = self.counts.setdefault(what, [0, 0])
        before, grown = state(self.place), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with _within_the_limit(), _watched(self.place) as opened:
            try:
                value = reader()
            except UserError as error:
                value = error
        assert [told for told in opened if not (holds and str(self.place) in told)] == []
        assert state(self.place) == before, "a reader changed its files"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown) * 1024
        assert grown < MEMORY, f"{grown} bytes for files of {sum(told[0] for told in before.values() if told)}"
        refused = isinstance(value, UserError)
        count[refused] += 1
        if refused:
            message = str(value)
            assert message.strip()
            assert len(message) < 10_000, f"{len(message)} characters: {message[:2000]} ... {message[-500:]}"
            assert CANARY not in message
            assert not RAW.search(message), message
        return value


def state(folder: Path) -> dict[str, tuple[int, ...]]:
    """The size, the time of the last change and the number of every file; of folders, that they are there."""
    found: dict[str, tuple[int, ...]] = {}
    for place, folders, files in os.walk(folder):
        found |= dict.fromkeys((os.path.join(place, name) for name in folders), ())
        for name in files:
            told = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (told.st_size, told.st_mtime_ns, told.st_ino)
    return found


def lay(folder: Path, files: Mapping[str, bytes]) -> None:
    """The folder with these files and nothing else. Copying whole folders would take most of a case's time."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


class TooLongError(Exception):
    """Not a TimeoutError, which is an OSError and might be taken for the file's."""


def _too_long(*_: object) -> None:
    raise TooLongError(f"a case took longer than {SECONDS} s")


@contextmanager
def _within_the_limit() -> Iterator[None]:
    """By the processor's time: neither a busy machine nor the clock of the test's own limit gets in the way."""
    before = signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    start = time.process_time()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - start < SECONDS


_watching: tuple[str, list[str]] | None = None
"""The folder that may be read, and what else was done. An audit hook cannot be taken away again, so it is one."""
_CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
_ELSEWHERE = {"subprocess.Popen", "os.system", "os.exec", "socket.connect", "pickle.find_class"}
_LIBRARIES = tuple({sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]), "/proc", "/sys", "/dev"})


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    folder, told = _watching
    if event == "open":
        path, _, flags = args
        if not isinstance(path, str | bytes):
            return
        place = os.path.abspath(os.fsdecode(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            told.append(f"opened {place} to write")
        elif not place.startswith((folder, *_LIBRARIES)):
            told.append(f"opened {place}")
    elif event in _ELSEWHERE | _CHANGES:
        told.append(f"{event} {args}")


sys.addaudithook(_audit)


@contextmanager
def _watched(folder: Path) -> Iterator[list[str]]:
    global _watching
    told: list[str] = []
    _watching = (str(folder), told)
    try:
        yield told
    finally:
        _watching = None
