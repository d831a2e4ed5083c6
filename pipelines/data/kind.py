"""A kind of example: which fields it has, and how checked rows are made of what a reader found."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pipelines.config import DataConfig
from pipelines.data.examples import Table
from pipelines.data.fields import Columns, Field
from pipelines.data.rows import Record


class ExampleKind(ABC):
    """One instance a kind; tasks that read the same examples share it."""

    fields: ClassVar[tuple[Field, ...]]
    formats: ClassVar[Mapping[str, str]] = {}
    """Formats by ending, where they are not those of pipelines/data/formats.py."""

    def columns(self, data: DataConfig) -> Columns:
        return Columns(self.fields, {role: str(name) for role, name in data.columns.items()})

    def shown(self, row: Any) -> str:
        """A row for a person to read: its texts, if nothing else is said."""
        return " | ".join(str(getattr(row, f.name)) for f in dataclasses.fields(row) if f.type == "str")

    @abstractmethod
    def table(self, records: Iterable[Record], *, source: str, data: DataConfig) -> Table[Any]:
        """Check rows and keep them all.

        Args:
            source: what the rows come from, to begin a sentence with.

        Raises:
            UserError: a row that is not what it should be, by its place, or no rows.
        """
