"""Where splits come from: files, folders, folders saved by `datasets`."""

import contextlib
import json
import re
import struct
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from pipelines.config import DataConfig
from pipelines.data.examples import TaggedSentence
from pipelines.data.read import read_split, sources
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError

BOB = TaggedSentence(("Bob",), ("B-PER",))


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("Bob\tB-PER\n")
    return folder


def saved() -> datasets.Dataset:
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        }
    )
    return datasets.Dataset.from_dict({"tokens": [["Bob"]], "ner_tags": [[1]]}, features=features)


@pytest.mark.parametrize("dev", ["dev", "validation", "valid", "val"])
def test_a_folder_gives_the_splits_that_its_files_are_named_after(tmp_path: Path, dev: str) -> None:
    fill(tmp_path, "train.conll", f"{dev}.txt", "README.md", "train.pkl", "LICENSE")
    found = sources(DataConfig(path=str(tmp_path)))
    assert found == {"train": str(tmp_path / "train.conll"), "dev": str(tmp_path / f"{dev}.txt")}


def test_named_files_win_over_the_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "data", "train.conll", "dev.conll", "test.conll")
    other = fill(tmp_path / "other", "mine.conll")
    found = sources(DataConfig(path=str(folder), dev=str(other / "mine.conll")))
    assert found == {
        "train": str(folder / "train.conll"),
        "dev": str(other / "mine.conll"),
        "test": str(folder / "test.conll"),
    }


def test_sources_are_absolute(tmp_path: Path) -> None:
    fill(tmp_path, "mine.conll")
    with contextlib.chdir(tmp_path):
        assert sources(DataConfig(train="mine.conll")) == {"train": str(tmp_path / "mine.conll")}


def test_a_hub_id_for_one_split_needs_no_look_at_the_hub(tmp_path: Path) -> None:
    found = sources(DataConfig(path=str(fill(tmp_path, "train.conll")), test="hub:wnut_17"))
    assert found == {"train": str(tmp_path / "train.conll"), "test": "hub:wnut_17"}


def test_no_training_data_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither data\.path nor data\.train is set"):
        sources(DataConfig())
    fill(tmp_path, "dev.conll", "trian.conll")
    with pytest.raises(UserError, match=r"has no train file; it holds: dev\.conll, trian\.conll\. Name the file train"):
        sources(DataConfig(path=str(tmp_path)))


def test_two_files_for_one_split_are_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "train.conll", "dev.conll", "validation.jsonl")
    with pytest.raises(UserError, match=r"more than one dev file: dev\.conll, validation\.jsonl\. Keep one.*data\.dev"):
        sources(DataConfig(path=str(tmp_path)))


def test_a_file_where_a_folder_belongs_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "train.conll")
    with pytest.raises(UserError, match=r"data\.path is the file .*Set data\.train"):
        sources(DataConfig(path=str(tmp_path / "train.conll")))


@pytest.mark.parametrize("key", ["path", "train", "dev"])
def test_a_missing_path_is_an_error_that_says_where_it_was_looked_for(tmp_path: Path, key: str) -> None:
    settings = {"train": str(fill(tmp_path, "train.conll") / "train.conll"), key: "gone.conll"}
    with pytest.raises(
        UserError, match=rf"no file or folder gone\.conll \(looked for in {re.escape(str(Path.cwd()))}\)"
    ):
        sources(DataConfig.model_validate(settings))


def test_reading_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file or folder .*gone\.conll"):
        read_split(str(tmp_path / "gone.conll"), split="train", data=DataConfig(), kind=TAGGED)


@pytest.mark.parametrize("name", ["train.pkl", "train.pt", "train.bin", "train.conll.gz"])
def test_an_unknown_ending_is_an_error_that_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    fill(tmp_path, name)
    message = rf"The ending '{Path(name).suffix}' of .* Known endings: \.conll, \.iob2, \.bio, .*\.jsonl.*\.parquet"
    with pytest.raises(UserError, match=message):
        read_split(str(tmp_path / name), split="train", data=DataConfig(), kind=TAGGED)


def test_a_named_format_wins_over_the_ending(tmp_path: Path) -> None:
    fill(tmp_path, "train.ner")
    data = DataConfig(path=str(tmp_path), format="conll")
    assert read_split(sources(data)["train"], split="train", data=data, kind=TAGGED).rows == [BOB]


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    data = DataConfig().model_copy(update={"format": "xml"})
    with pytest.raises(
        UserError, match=r"no format 'xml': data\.format is auto, conll, jsonl, csv, tsv, text, parquet"
    ):
        read_split(str(fill(tmp_path, "a.conll") / "a.conll"), split="train", data=data, kind=TAGGED)


def test_a_folder_can_be_read_by_its_splits(tmp_path: Path) -> None:
    fill(tmp_path, "train.conll", "valid.conll")
    assert read_split(str(tmp_path), split="dev", data=DataConfig(), kind=TAGGED).rows == [BOB]
    with pytest.raises(UserError, match=r"has no test file; it holds: train\.conll, valid\.conll\. Set data\.test"):
        read_split(str(tmp_path), split="test", data=DataConfig(), kind=TAGGED)


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no split 'validation'; the splits are train, dev, test"):
        read_split("a.conll", split="validation", data=DataConfig(), kind=TAGGED)


def test_a_saved_data_set_is_read_by_its_splits(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": saved(), "validation": saved()}).save_to_disk(str(tmp_path / "d"))
    data = DataConfig(path=str(tmp_path / "d"))
    assert sources(data) == {"train": str(tmp_path / "d"), "dev": str(tmp_path / "d")}
    assert read_split(str(tmp_path / "d"), split="dev", data=data, kind=TAGGED).rows == [BOB]
    with pytest.raises(UserError, match=r"has no test split; there are: train, validation"):
        read_split(str(tmp_path / "d"), split="test", data=data, kind=TAGGED)


def test_a_data_set_saved_without_splits_is_what_it_is_named_for(tmp_path: Path) -> None:
    saved().with_format("numpy").save_to_disk(str(tmp_path / "d"))
    assert sources(DataConfig(path=str(tmp_path / "d"))) == {"train": str(tmp_path / "d")}
    assert read_split(str(tmp_path / "d"), split="dev", data=DataConfig(), kind=TAGGED).rows == [BOB]


def test_a_saved_data_set_that_is_broken_is_an_error(tmp_path: Path) -> None:
    saved().save_to_disk(str(tmp_path / "d"))
    (tmp_path / "d" / "data-00000-of-00001.arrow").write_bytes(b"")
    with pytest.raises(UserError, match=r"`datasets` cannot load .*Save it anew"):
        read_split(str(tmp_path / "d"), split="train", data=DataConfig(), kind=TAGGED)


@pytest.mark.parametrize(
    "features",
    ["train", {"tokens": 5}, {"tokens": {"_type": "Nothing"}}, {"tokens": {"_type": "Value", "dtype": "nothing"}}],
)
def test_a_saved_data_set_whose_columns_are_not_told_is_an_error(tmp_path: Path, features: object) -> None:
    saved().save_to_disk(str(tmp_path / "d"))
    path = tmp_path / "d" / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"features": features}))
    with pytest.raises(UserError, match=r"`datasets` cannot load .*Save it anew"):
        read_split(str(tmp_path / "d"), split="train", data=DataConfig(), kind=TAGGED)


def test_a_saved_data_set_reads_nothing_outside_its_folder(tmp_path: Path) -> None:
    for name in ("other", "d"):
        datasets.DatasetDict(train=saved()).save_to_disk(str(tmp_path / name))
    state = tmp_path / "d" / "train" / "state.json"
    away = {"_data_files": [{"filename": "../../other/train/data-00000-of-00001.arrow"}]}
    state.write_text(json.dumps(json.loads(state.read_text()) | away))
    with pytest.raises(UserError, match=r"state\.json names '\.\./\.\./other/.*no name of something in its own folder"):
        read_split(str(tmp_path / "d"), split="train", data=DataConfig(), kind=TAGGED)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "../other/train"]}')
    with pytest.raises(UserError, match=r"dataset_dict\.json names '\.\./other/train'"):
        read_split(str(tmp_path / "d"), split="train", data=DataConfig(), kind=TAGGED)


def test_offsets_that_lead_out_of_a_saved_file_are_an_error(tmp_path: Path) -> None:
    saved().save_to_disk(str(tmp_path / "d"))
    path = tmp_path / "d" / "data-00000-of-00001.arrow"
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    offsets = bytearray(struct.pack("<ii", 0, 1))
    kind = table.schema.field("tokens").type
    tokens = pa.ListArray.from_buffers(kind, 1, [None, pa.py_buffer(offsets)], children=[pa.array(["Bob"])])
    batch = pa.record_batch([tokens, table["ner_tags"].chunk(0)], schema=table.schema)
    offsets[4:] = struct.pack("<i", 2**20)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(UserError, match=r"`datasets` cannot load .*Save it anew"):
        read_split(str(tmp_path / "d"), split="train", data=DataConfig(), kind=TAGGED)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "~nobody-of-this-name/x"])
def test_a_path_that_can_be_none_is_an_error(name: str) -> None:
    message = r"cannot be looked up: .*Correct the path"
    with pytest.raises(UserError, match=message):
        read_split(name, split="train", data=DataConfig(), kind=TAGGED)
    with pytest.raises(UserError, match=message):
        sources(DataConfig(train=name))
