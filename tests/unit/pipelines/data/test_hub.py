"""The hub, answered by a fake: no test needs a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import httpx
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import RevisionNotFoundError

from pipelines.config import DataConfig
from pipelines.data.examples import TaggedSentence
from pipelines.data.hub import Hub, hub_splits, read_hub
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError

BOB = TaggedSentence(("Bob",), ("B-PER",))


class FakeHub:
    """Answers what `load_dataset` would, and remembers what it was asked."""

    def __init__(self, splits: Mapping[str, Any] | Exception, *, script: bool = False, files: Any = ()) -> None:
        self.splits = splits
        self.script = script
        self.branch_files = files
        self.asked: list[tuple[Any, ...]] = []

    def load(self, repo: str, name: str | None = None, **more: str) -> Mapping[str, Any]:
        self.asked.append((repo, name, more))
        if self.script and not more:
            raise RuntimeError(f"Dataset scripts are no longer supported, but found {repo}.py")
        if isinstance(self.splits, Exception):
            raise self.splits
        return self.splits

    def files(self, repo: str, branch: str) -> list[str]:
        self.asked.append((repo, branch))
        if isinstance(self.branch_files, Exception):
            raise self.branch_files
        return list(self.branch_files)

    @property
    def hub(self) -> Hub:
        return Hub(self.load, self.files)


def one_row() -> datasets.Dataset:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        }
    )
    return datasets.Dataset.from_dict({"tokens": [["Bob"]], "ner_tags": [[1]]}, features=features)


def rows(source: str, split: str, fake: FakeHub) -> list[TaggedSentence]:
    return TAGGED.table(
        read_hub(source, split, TAGGED.columns(DataConfig()), fake.hub), source=source, data=DataConfig()
    ).rows


def test_hub_splits_go_by_our_names_and_class_numbers_by_theirs() -> None:
    fake = FakeHub({"train": one_row(), "validation": one_row(), "test": one_row(), "extra": one_row()})
    assert hub_splits("hub:org/set", fake.hub) == ["train", "dev", "test"]
    assert rows("hub:org/set", "dev", fake) == [BOB]


def test_a_configuration_follows_the_id() -> None:
    fake = FakeHub({"train": one_row()})
    assert rows("hub:org/set:en", "train", fake) == [BOB]
    assert fake.asked == [("org/set", "en", {})]


def test_a_missing_split_is_an_error() -> None:
    with pytest.raises(UserError, match=r"hub:set has no dev split; there are: train"):
        rows("hub:set", "dev", FakeHub({"train": one_row()}))


def test_a_loading_script_is_read_from_the_branch_that_the_hub_converted() -> None:
    fake = FakeHub({"train": one_row()}, script=True, files=["wnut_17/train/0000.parquet", ".gitattributes"])
    assert rows("hub:wnut_17", "train", fake) == [BOB]
    assert fake.asked == [
        ("wnut_17", None, {}),
        ("wnut_17", "refs/convert/parquet"),
        ("wnut_17", None, {"data_dir": "wnut_17", "revision": "refs/convert/parquet"}),
    ]


def test_the_converted_layout_is_one_that_datasets_understands(tmp_path: Path) -> None:
    for config in ("en", "zh"):
        for split in ("train", "validation", "test"):
            (tmp_path / config / split).mkdir(parents=True)
            one_row().to_parquet(str(tmp_path / config / split / "0000.parquet"))
    loaded = datasets.load_dataset(str(tmp_path), data_dir="zh", cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 1, "validation": 1, "test": 1}
    assert rows("hub:set", "dev", FakeHub(loaded)) == [BOB]


@pytest.mark.parametrize(
    ("source", "files", "message"),
    [
        ("hub:set", ["en/train/0.parquet", "zh/train/0.parquet"], r"configurations en, zh: one of them must be named"),
        ("hub:set:de", ["en/train/0.parquet"], r"has the configurations en: there is no 'de'"),
        ("hub:set", ["en/partial-train/0.parquet"], r"only a part of hub:set:en as Parquet"),
        ("hub:set", RevisionNotFoundError("404", response=httpx.Response(404, request=httpx.Request("GET", "http://x"))),
         r"is a loading script.*keeps no Parquet form"),
    ],
)  # fmt: skip
def test_a_loading_script_that_cannot_be_replaced_is_an_error(source: str, files: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows(source, "train", FakeHub({}, script=True, files=files))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach 'set' on the Hub"), r"hub cannot be reached for hub:set .*save_to_disk, copy"),
        (httpx.ConnectTimeout("timed out"), r"hub cannot be reached for hub:set \(timed out\)"),
        (DatasetNotFoundError("Dataset 'set' doesn't exist"), r"hub shows no data set 'set'.*hf auth login"),
        (ValueError("BuilderConfig 'x' not found. Available: ['a']"), r"Available: \['a'\]\. .*hub:ID:CONFIG"),
    ],
)
def test_what_keeps_the_hub_from_answering_is_said(error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows("hub:set", "train", FakeHub(error))


def test_an_empty_id_is_an_error() -> None:
    with pytest.raises(UserError, match=r"'hub:' names no data set"):
        rows("hub:", "train", FakeHub({}))
