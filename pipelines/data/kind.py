"""A kind of example: which fields it has, and how a checked row is made of what a reader found."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pipelines.config import DataConfig
from pipelines.data.examples import Table
from pipelines.data.fields import Columns, Field
from pipelines.data.rows import Record
from pipelines.errors import UserError


class ExampleKind(ABC):
    """One instance a kind; tasks that read the same examples share it."""

    fields: ClassVar[tuple[Field, ...]]
    formats: ClassVar[Mapping[str, str]] = {}
    """Formats by ending, where they are not those of pipelines/data/formats.py."""
    needed: ClassVar[str]
    """What a set without rows lacks, as in `at least one ... is needed`."""

    def columns(self, data: DataConfig) -> Columns:
        return Columns(self.fields, {role: str(name) for role, name in data.columns.items()})

    def shown(self, row: Any) -> str:
        """A row for a person to read: its texts, if nothing else is said."""
        return " | ".join(str(getattr(row, f.name)) for f in dataclasses.fields(row) if f.type == "str")

    @abstractmethod
    def row(self, record: Record, data: DataConfig) -> Any:
        """Check what a reader found, and make a row of it.

        Raises:
            UserError: it is not what it should be, by its place.
        """

    def labels_of(self, row: Any) -> Iterable[str]:  # noqa: ARG002
        """The tags or labels of a row; none, if nothing else is said."""
        return ()

    def num_repaired(self, record: Record, row: Any) -> int:  # noqa: ARG002
        """How many tags of a record had to be mended to make the row; asked with `iob: repair`."""
        return 0

    def says_nothing(self, row: Any) -> bool:  # noqa: ARG002
        """Whether a row has nothing to learn from; a set may hold such rows, but not them alone."""
        return False

    def empty(self, source: str, num_rows: int) -> UserError:
        """The error for a set of `num_rows` rows that all say nothing."""
        found = f"{num_rows} rows without a single word" if num_rows else "no rows"
        return UserError(f"{source} holds {found}: at least one {self.needed} is needed. Give another file.")

    def table(self, records: Iterable[Record], *, source: str, data: DataConfig) -> Table[Any]:
        """Check rows and keep them all, also ones that say nothing.

        Args:
            source: what the rows come from, to begin a sentence with.

        Raises:
            UserError: a row that is not what it should be, by its place, or no rows.
        """
        rows: list[Any] = []
        labels: set[str] = set()
        num_repaired = 0
        for record in records:
            row = self.row(record, data)
            rows.append(row)
            labels.update(self.labels_of(row))
            num_repaired += self.num_repaired(record, row) if data.iob == "repair" else 0
        if all(self.says_nothing(row) for row in rows):
            raise self.empty(source, len(rows))
        return Table(rows, num_repaired, frozenset(labels))
