"""The demo data: addresses that people labelled word by word, from usaddress' source distribution (MIT)."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipelines.data.examples import SPLITS, TaggedSentence
from pipelines.data.from_index import fetch
from pipelines.data.iob import spans_to_iob
from pipelines.data.write_conll import to_conll
from pipelines.data.write_files import write_all
from pipelines.errors import UserError

LABELED = "training/labeled.xml"
LICENSE = "LICENSE"


@dataclass(frozen=True, slots=True)
class Written:
    num_rows: dict[str, int]
    num_duplicates: int


def is_written(folder: Path) -> bool:
    return all((folder / f"{split}.conll").is_file() for split in SPLITS)


def write_addresses(folder: Path, tarball: Path) -> Written:
    """Write train, dev and test files and the data's licence.

    Raises:
        UserError: the tarball lacks a file, holds addresses of another form, or the folder cannot be written.
    """
    rows = parse_addresses(take_file(tarball, LABELED))
    kept = without_duplicates(rows)
    splits = split_rows(kept)
    texts = {f"{split}.conll": to_conll(splits[split]).encode() for split in SPLITS}
    write_all(folder, {**texts, LICENSE: take_file(tarball, LICENSE)})
    return Written({split: len(splits[split]) for split in SPLITS}, len(rows) - len(kept))


def download(requirements: Path, name: str, folder: Path) -> Path:
    """Fetch a source distribution whose version and hash are pinned in a requirements file.

    Raises:
        UserError: pip cannot fetch it (no network, another hash, no pip).
    """
    return fetch(name, requirements, folder, "--no-binary", name, "--no-build-isolation", ending=".tar.gz")


def take_file(tarball: Path, inside: str) -> bytes:
    """One file of a source distribution; nothing is unpacked to disk.

    Raises:
        UserError: it is not there, or the tarball is broken.
    """
    try:
        with tarfile.open(tarball) as archive:
            for member in archive:
                if member.isfile() and member.name.partition("/")[2] == inside:
                    file = archive.extractfile(member)
                    assert file is not None
                    return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{tarball} cannot be read as a tarball: {error}. Download it again.") from None
    raise UserError(f"{tarball.name} has no {inside}: it is not the release that the demo data is made from.")


def parse_addresses(xml: bytes) -> list[TaggedSentence]:
    """Addresses as words and IOB2 tags; punctuation stays in its word, as people labelled it.

    Raises:
        UserError: it is not XML, or text stands outside the labels, which would be lost.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise UserError(f"The labelled addresses are not valid XML: {error}. Download them again.") from None
    rows = []
    for number, address in enumerate(root, 1):
        words: list[str] = []
        labels: list[str] = []
        loose = [address.text, *(token.tail for token in address)]
        if any((text or "").strip() for text in loose):
            raise UserError(f"Address {number} of the labelled addresses has text without a label: another release?")
        for token in address:
            parts = (token.text or "").split()
            words += parts
            labels += [token.tag] * len(parts)
        if not words:
            raise UserError(f"Address {number} of the labelled addresses has no words: another release?")
        rows.append(TaggedSentence(tuple(words), spans_to_iob(labels)))
    return rows


def without_duplicates(rows: Iterable[TaggedSentence]) -> list[TaggedSentence]:
    """The first of all rows with the same words, so that no address can be in two splits."""
    first: dict[tuple[str, ...], TaggedSentence] = {}
    for row in rows:
        first.setdefault(row.words, row)
    return list(first.values())


def split_rows(rows: Sequence[TaggedSentence], seed: int = 0) -> dict[str, list[TaggedSentence]]:
    """A tenth for dev, a tenth for test, the rest for train; the order of `rows` does not matter.

    The first row with a label goes to train, as the others cannot be scored on what train lacks.
    """
    order = sorted(rows, key=lambda row: hashlib.sha256("\n".join((str(seed), *row.words)).encode()).digest())
    known: set[str] = set()
    first: list[TaggedSentence] = []
    rest: list[TaggedSentence] = []
    for row in order:
        kinds = {tag[2:] for tag in row.tags}
        (rest if kinds <= known else first).append(row)
        known |= kinds
    tenth = min(len(rows) // 10, len(rest) // 2)
    return {"train": first + rest[2 * tenth :], "dev": rest[:tenth], "test": rest[tenth : 2 * tenth]}
