"""A run's folder belongs to one process while that lives: it holds a lock on a file in it.

The lock is the kernel's, so that it ends with the process however that ends; the file that a killed one leaves says
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from pipelines.errors import UserError

LOCK = "run.lock"
CONFIG, SUMMARY = "config.yaml", "summary.json"
"""A run's folder has the first from its beginning, and the second from its end on."""


class Busy(Exception):
    """Another process holds the folder; says which one."""


class RunFolder:
    """A folder that is held, until `release`."""

    def __init__(self, path: Path) -> None:
        """Make the folder if need be, and hold it.

        Raises:
            Busy: another process does.
            UserError: it cannot be written.
        """
        self.path = path
        self._made: list[Path] = []
        try:
            for parent in reversed((path, *path.parents)):
                if not parent.exists():
                    parent.mkdir(exist_ok=True)
                    self._made.append(parent)
            self._handle = _locked(path / LOCK)
        except OSError as error:
            self._unmake()
            raise UserError(
                f"The output folder {_short(path)} cannot be written ({error.strerror}: {_short(error.filename)}). "
                "Choose another run.output."
            ) from None

    def release(self) -> None:
        """Let go of the folder; one that was made here and in which nothing was written goes, too."""
        # While it is locked: who waits for it sees that it is another file then.
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._handle)
        self._unmake()

    def _unmake(self) -> None:
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                return


def _short(path: Path | str, most: int = 500) -> str:
    """A path that a person may read."""
    text = str(path)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _locked(path: Path) -> int:
    """An open file with an exclusive lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            os.close(handle)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise Busy(holder or "another process") from None
        try:
            same = os.path.samestat(os.fstat(handle), os.stat(path))
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return handle
        # Its holder has removed it since it was opened.
        os.close(handle)


def is_begun(folder: Path) -> bool:
    """Whether a run began there."""
    return (folder / CONFIG).is_file()


def is_finished(folder: Path) -> bool:
    """Whether a run came to its end there."""
    return (folder / SUMMARY).is_file()


def is_free(folder: Path) -> bool:
    """Whether nothing is there, or only what a run leaves that is killed before it begins."""
    try:
        if not folder.is_dir():
            return not folder.exists()
    except OSError:
        # Too long a name, say: whoever makes the folder is told.
        return True
    names = {entry.name for entry in folder.iterdir()}
    killed_early = LOCK in names and names <= {LOCK, "checkpoints"}
    return not names or (killed_early and not any(folder.glob("checkpoints/*step-*")))
