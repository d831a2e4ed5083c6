"""UTF-8 files as text, read as it is needed: a file may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from pipelines.data.rows import quote
from pipelines.errors import UserError


def lines_of(path: Path) -> Iterator[str]:
    r"""Yield the lines of a file that ends them with \n or \r\n, without the byte order mark some editors put first.

    Only one line at a time is held. Not `str.splitlines`, which also splits at U+2028, U+0085 and others that may be
    part of a word.

    Raises:
        UserError: no such file, one that may not be read, or one that is not UTF-8.
    """
    at, first = 0, b""
    with opened(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            first = first or raw[:2]
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, at + error.start, raw[error.start], first) from None
            at += len(raw)
            line = line.removeprefix("\ufeff") if number == 1 else line
            yield line.removesuffix("\n").removesuffix("\r")


@contextmanager
def opened(path: Path, mode: Literal["rb", "r"]) -> Iterator[IO[Any]]:
    r"""A file, open to be read: its bytes, or its text with all ends of lines as they are.

    Raises:
        UserError: no such file, one that may not be read, or (as it is read as text) one that is not UTF-8.
    """
    try:
        with path.open(mode, newline="", encoding="utf-8-sig") if mode == "r" else path.open(mode) as file:
            yield file
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check what it is and who may read it.") from None
    except UnicodeDecodeError:
        # Decoding goes by pieces and does not know where in the file it is: reading it by lines does.
        for _ in lines_of(path):
            pass
        raise


def _not_utf8(path: Path, line: int, at: int, byte: int, first: bytes) -> UserError:
    guess = "it looks like UTF-16; " if first in (b"\xff\xfe", b"\xfe\xff") else ""
    return UserError(
        f"{path}, line {line}: byte {at + 1} of the file (0x{byte:02x}) is not UTF-8 text; {guess}save the file as "
        "UTF-8."
    )


def existing(source: str) -> Path:
    """The file or folder that a text names.

    Raises:
        UserError: nothing is there, or the text is none that a path can be.
    """
    try:
        path = Path(source).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise missing(Path(source)) from None
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL in it, ~ of nobody
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{quote(source)} cannot be looked up: {reason}. Correct the path.") from None
    return path


def missing(path: Path) -> UserError:
    """The error for a path where nothing is; where it was looked for helps when a job runs elsewhere."""
    where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
    return UserError(f"There is no file or folder {path}{where}. Correct the path, or use hub:ID for a data set's id.")
