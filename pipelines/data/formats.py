"""The file formats. A new one is one file with a reader, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.fields import Columns
from pipelines.data.kind import ExampleKind
from pipelines.data.read_conll import read_conll
from pipelines.data.read_csv import read_csv, read_tsv
from pipelines.data.read_jsonl import read_jsonl
from pipelines.data.read_lines import read_lines
from pipelines.data.read_parquet import read_parquet
from pipelines.data.rows import Found, quote
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Format:
    endings: tuple[str, ...]
    read: Callable[[Path, Columns], Iterator[Found]]


FORMATS = {
    "conll": Format((".conll", ".iob2", ".bio"), read_conll),
    "jsonl": Format((".jsonl", ".json"), read_jsonl),
    "csv": Format((".csv",), read_csv),
    "tsv": Format((".tsv",), read_tsv),
    "text": Format((".txt",), read_lines),
    "parquet": Format((".parquet",), read_parquet),
}
ENDINGS = {ending: name for name, form in FORMATS.items() for ending in form.endings}


def format_of(path: Path, data: DataConfig, kind: ExampleKind) -> Format:
    """The format that the config names, or else the one of the file's ending.

    Raises:
        UserError: neither is known.
    """
    name = data.format
    if name != "auto":
        if name not in FORMATS:
            raise UserError(f"There is no format {name!r}: data.format is auto, {', '.join(FORMATS)}.")
        return FORMATS[name]
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        found = f"The ending {quote(ending)} of {path}" if ending else f"{path} has no ending, which"
        raise UserError(
            f"{found} does not tell its format. Known endings: {', '.join(ENDINGS)}. Convert the file to one of these; "
            f"where it is one of {', '.join(FORMATS)} under another ending, set data.format."
        )
    return FORMATS[kind.formats.get(ending, ENDINGS[ending])]
