"""A UTF-8 file as text."""

from __future__ import annotations

from pathlib import Path

from pipelines.data.rows import quote
from pipelines.errors import UserError


def read_text(path: Path) -> str:
    """The text of a file, without the byte order mark that some editors put first.

    Raises:
        UserError: no such file, one that may not be read, or one that is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Check what it is and who may read it.") from None
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        guess = "it looks like UTF-16; " if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise UserError(
            f"{path}, line {line}: byte {error.start + 1} of the file (0x{raw[error.start]:02x}) is not UTF-8 text; "
            f"{guess}save the file as UTF-8."
        ) from None


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


def lines_of(text: str) -> list[str]:
    r"""The lines of a text that ends them with \n or \r\n.

    Not `str.splitlines`, which also splits at U+2028, U+0085 and others that may be part of a word.
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    return lines
