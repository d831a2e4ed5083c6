"""Recordings and what is heard in them."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.config import DataConfig
from pipelines.data.attached import attached
from pipelines.data.examples import Sound, Table
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import label_of
from pipelines.data.rows import Record
from pipelines.errors import UserError


class Sounds(ExampleKind):
    """A recording, as a file, and one label."""

    fields = (
        Field("audio", "the recordings", ("audio", "sound", "speech", "file", "file_name", "path")),
        Field("label", "the labels", ("label", "labels", "category", "class", "intent")),
    )

    def table(self, records: Iterable[Record], *, source: str, data: DataConfig) -> Table[Sound]:  # noqa: ARG002
        """Check rows and keep them all. Whether a file is a recording is seen when it is decoded.

        Raises:
            UserError: a recording that is missing, or outside of the data file's folder, a label that is none, or no
                rows.
        """
        rows = [
            Sound(attached(record, "audio", "a recording"), label_of(record, record.values["label"]), record.place)
            for record in records
        ]
        if not rows:
            raise UserError(
                f"{source} holds no rows: at least one recording with its label is needed. Give another file."
            )
        return Table(rows, labels=frozenset(row.label for row in rows))


SOUNDS = Sounds()
