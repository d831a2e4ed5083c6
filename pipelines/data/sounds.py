"""Recordings and what is heard in them."""

from __future__ import annotations

from pipelines.config import DataConfig
from pipelines.data.attached import attached
from pipelines.data.examples import Sound
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import label_of
from pipelines.data.rows import Record


class Sounds(ExampleKind):
    """A recording, as a file, and one label."""

    fields = (
        Field("audio", "the recordings", ("audio", "sound", "speech", "file", "file_name", "path")),
        Field("label", "the labels", ("label", "labels", "category", "class", "intent")),
    )

    needed = "recording with its label"

    def row(self, record: Record, data: DataConfig) -> Sound:  # noqa: ARG002
        """A recording with its label. Whether a file is a recording is seen when it is decoded.

        Raises:
            UserError: a recording that is missing, or outside of the data file's folder, or a label that is none.
        """
        sound = attached(record, "audio", "a recording")
        return Sound(sound, label_of(record, record.values["label"]), record.place)

    def labels_of(self, row: Sound) -> tuple[str, ...]:
        return (row.label,)


SOUNDS = Sounds()
