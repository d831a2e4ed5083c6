"""Recordings and what is heard in them."""

from __future__ import annotations

import io
import struct
import wave
from math import gcd
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.attached import attached
from pipelines.data.examples import Array, Sound
from pipelines.data.fields import Field
from pipelines.data.kind import ExampleKind
from pipelines.data.labelled import label_of
from pipelines.data.rows import Record
from pipelines.errors import UserError

SLOWEST, FASTEST = 1_000, 384_000
"""Samples a second: less holds no sound, and no microphone takes more."""

UNKNOWN = 2**31 - 2**16
"""Bytes: who writes a recording while it lasts says that it has the most there could be."""

_DAMAGE = (wave.Error, EOFError, OSError, ValueError, RuntimeError, ArithmeticError, MemoryError, struct.error)
"""Whatever the library meets where it takes damaged bytes for a recording."""


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


def decode(sound: Sound, rate: int) -> Array:
    """The samples [length], from -1 to 1: the mean of all channels, at `rate` samples a second.

    Raises:
        UserError: it is no WAV file of 16 bits, or holds no sound.
    """
    source = sound.source
    named = f"{sound.place}, {source.name}" if isinstance(source, Path) else sound.place
    try:
        with wave.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), "rb") as file:
            channels, width, own = file.getnchannels(), file.getsampwidth(), file.getframerate()
            said = file.getnframes()
            raw = file.readframes(said)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{named}: the recording cannot be read ({reason}). Read are WAV files (PCM) of 16 bits a sample: convert "
            "it (ffmpeg -i FILE -c:a pcm_s16le FILE.wav), or remove the row."
        ) from None
    if width != 2 or not SLOWEST <= own <= FASTEST:
        raise UserError(
            f"{named}: the recording has {8 * width} bits a sample and {own} samples a second. Read are 16 bits, and "
            f"{SLOWEST} to {FASTEST} samples: convert it (ffmpeg -i FILE -c:a pcm_s16le FILE.wav), or remove the row."
        )
    frames = len(raw) // (2 * channels)
    if frames < said and 2 * channels * said < UNKNOWN:
        raise UserError(
            f"{named}: the recording is cut off: {frames} of {said} samples are there. Copy the file anew, or remove "
            "the row."
        )
    values = np.frombuffer(raw, "<i2", frames * channels).reshape(frames, channels)
    samples: Array = values.mean(1, dtype=np.float32) / np.float32(2**15)
    if own != rate and frames:
        # Imported here: it takes a second, and most models are given what they were trained on.
        from scipy.signal import resample_poly

        common = gcd(own, rate)
        samples = resample_poly(samples, rate // common, own // common).astype(np.float32)
    if len(samples) < rate // 40:
        raise UserError(
            f"{named}: the recording is shorter than a fortieth of a second, which no model hears anything in. Remove "
            "the row."
        )
    return samples


SOUNDS = Sounds()
