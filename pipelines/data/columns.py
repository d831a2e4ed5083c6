"""Rows out of columns: what JSON lines, CSV, Parquet and `datasets` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pipelines.config import DataConfig
from pipelines.data.rows import Row, quote
from pipelines.errors import UserError

TAGS_COLUMNS = ("ner_tags", "tags", "labels")


def choose_columns(columns: Iterable[str], data: DataConfig, *, place: str) -> tuple[str, str]:
    """The names of the words' and of the tags' column.

    Raises:
        UserError: one of them is not there.
    """
    there = list(columns)
    tags = data.tags_column or next((name for name in TAGS_COLUMNS if name in there), None)
    names = ", ".join(quote(name) for name in there[:20]) or "none"
    if data.tokens_column not in there:
        raise UserError(
            f"{place}: there is no column {data.tokens_column!r} for the words; the columns are: {names}. "
            "Set data.tokens_column to the right one."
        )
    if tags is None or tags not in there:
        wanted = (
            repr(tags) if tags else ", ".join(repr(name) for name in TAGS_COLUMNS[:-1]) + f" or {TAGS_COLUMNS[-1]!r}"
        )
        raise UserError(
            f"{place}: there is no column {wanted} for the tags; the columns are: {names}. "
            "Set data.tags_column to the right one."
        )
    return data.tokens_column, tags


def class_names(features: Mapping[str, object], column: str) -> list[str] | None:
    """The class names behind a column of whole numbers, from the features of `datasets` in their JSON form."""
    feature: object = features.get(column)
    while True:
        if isinstance(feature, list) and len(feature) == 1:  # how older versions write a list
            feature = feature[0]
        elif isinstance(feature, Mapping) and "feature" in feature:
            feature = feature["feature"]
        else:
            break
    if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return [str(name) for name in feature["names"]]
    return None


def column_row(
    words: object,
    tags: object,
    names: Sequence[str] | None,
    *,
    file: str,
    number: int,
    counted: Literal["line", "row"],
) -> Row:
    """One row of two lists; tags that are whole numbers become their class names.

    Raises:
        UserError: a value that is not a list, or a number without a class name.
    """
    place = f"{file}, {counted} {number}"
    for what, value in (("words", words), ("tags", tags)):
        if not isinstance(value, list | tuple):
            kind = "nothing" if value is None else type(value).__name__
            raise UserError(
                f"{place}: the {what} are {quote(value)} ({kind}), where a list belongs, one entry a word. "
                f"Correct the row, or name the column that holds them (data.tokens_column, data.tags_column)."
            )
    assert isinstance(words, list | tuple)
    assert isinstance(tags, list | tuple)
    named = [_named(tag, names, place=f"{place}, word {i + 1}") for i, tag in enumerate(tags)]
    return Row(words, named, file, number, counted)


def _named(tag: object, names: Sequence[str] | None, *, place: str) -> object:
    if isinstance(tag, bool) or not isinstance(tag, int):
        return tag
    if names is None:
        raise UserError(
            f"{place}: the tag is the number {tag}, and nothing here says which class it stands for. Write the tags as "
            "text (O, B-PER, ...), or save the data with `datasets` and a ClassLabel feature, which holds the names."
        )
    if not 0 <= tag < len(names):
        raise UserError(
            f"{place}: the tag is the number {tag}, but the column names {len(names)} classes (0 to {len(names) - 1}). "
            "Correct the row."
        )
    return names[tag]
