"""Data sets: files of each format, valid ones and ones that something happened to."""

from __future__ import annotations

import csv
import datetime
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import DataConfig
from pipelines.data.examples import Table, TaggedSentence
from pipelines.data.kind import ExampleKind
from pipelines.data.read import read_split, sources
from pipelines.data.row_bytes import from_bytes, to_bytes
from pipelines.data.stream import blocks, fault_of
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError
from pipelines.tasks import TASKS
from tests.fuzz.damage import damaged, damages
from tests.fuzz.trial import CANARY, Trial, fuzzed, lay

WORDS = (
    "Ada",
    "wrote",
    "é",
    "#",
    "-DOCSTART-",
    "[",
    '"',
    ",",
    "a b",
    "\u2028",
    "\u00a0",
    "x" * 200_000,
    "9" * 5000,
    "",
)
TAGS = ("O", "O", "B-PER", "I-PER", "B-LOC", "I-", "S-PER", "", "²", "9" * 5000, "[")
_words = st.one_of(st.sampled_from(WORDS[:3]), st.sampled_from(WORDS), st.text(max_size=4))
_tags = st.one_of(st.sampled_from(TAGS[:3]), st.sampled_from(TAGS))
_rows = st.lists(st.lists(st.tuples(_words, _tags), max_size=4), max_size=4)
_good = st.lists(
    st.lists(st.tuples(st.sampled_from(WORDS[:3]), st.sampled_from(TAGS[:3])), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from(TAGS)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
ROLES = ("messages", "prompt", "input", "answer", "source", "target", "translation", "question", "context",
         "answers", "start", "query", "positive", "image", "audio")  # fmt: skip
"""Columns of texts that are learnt, and of pairs of them."""
Rows = list[list[tuple[str, str]]]


def _conll(rows: Rows) -> bytes:
    return "\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in row) for row in rows).encode(
        "utf-8", "surrogatepass"
    )


def _spaced(rows: Rows) -> bytes:
    return "\n\n".join("\n".join(f"{word} _ {tag}" for word, tag in row) for row in rows).encode(
        "utf-8", "surrogatepass"
    )


def _jsonl(rows: Rows) -> bytes:
    lines = [json.dumps({"tokens": [word for word, _ in row], "tags": [tag for _, tag in row]}) for row in rows]
    return "\n".join(lines).encode()


def _csv(rows: Rows, *, spaced: bool = False) -> bytes:
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow(["tokens", "ner_tags"])
    for row in rows:
        columns = [word for word, _ in row], [tag for _, tag in row]
        out.writerow([" ".join(column) if spaced else json.dumps(column) for column in columns])
    return text.getvalue().encode("utf-8", "surrogatepass")


def _parquet(table: pa.Table, **options: Any) -> bytes:
    raw = io.BytesIO()
    pq.write_table(table, raw, **options)
    return raw.getvalue()


TEXTS = {"conll": (_conll, _spaced), "jsonl": (_jsonl,), "csv": (_csv, lambda rows: _csv(rows, spaced=True))}

_FEATURE = {"_type": "ClassLabel", "names": ["O", "B-PER"]}
FEATURES = (
    _FEATURE, [_FEATURE], {"feature": _FEATURE, "_type": "List"}, {"_type": "ClassLabel", "names": 5}, [],
    {"feature": None}, {"_type": "ClassLabel", "names": None}, {"_type": "ClassLabel", "names": {"a": 1}},
    {"_type": "ClassLabel"}, 5, [[[5]]],
)  # fmt: skip
METADATA = (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"info": 5}', b'{"info": {"features": []}}', b"9" * 5000)
COLUMNS: tuple[tuple[Any, Any], ...] = (
    ([["Ada", "x"]], pa.list_(pa.string())),
    ([["Ada", "x"]], pa.large_list(pa.large_string())),
    ([["Ada", "x"]], pa.list_(pa.string(), 2)),
    ([["B-PER", "O"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    ([["B-PER", "O"]], pa.list_(pa.string())),
    ([[1, 0]], pa.list_(pa.int64())),
    ([[2**63, 0]], pa.list_(pa.uint64())),
    ([[-1, 7]], pa.list_(pa.int8())),
    ([[None, "O"]], pa.list_(pa.string())),
    ([None], pa.list_(pa.string())),
    ([[]], pa.list_(pa.string())),
    ([["O", b"\xff"]], pa.list_(pa.binary())),
    (["Ada x"], pa.string()),
    ([b"\xff"], pa.binary()),
    ([1.5], pa.float64()),
    ([True], pa.bool_()),
    ([None], pa.null()),
    ([{"tokens": ["a"]}], pa.struct([("tokens", pa.list_(pa.string()))])),
    ([[("a", "b")]], pa.map_(pa.string(), pa.string())),
    ([[10**18]], pa.list_(pa.timestamp("ns"))),
    ([[2**50]], pa.list_(pa.timestamp("s"))),
    ([[2**62]], pa.list_(pa.timestamp("us", "Nowhere/Town"))),
    ([[2**31 - 1]], pa.list_(pa.date32())),
    ([[2**62]], pa.list_(pa.duration("ms"))),
    ([[2**62 + 1]], pa.list_(pa.duration("ns"))),
    ([[datetime.time(1)]], pa.list_(pa.time64("us"))),
    ([[Decimal("1.5")]], pa.list_(pa.decimal128(5, 2))),
    ([[[["O"]]]], pa.list_(pa.list_(pa.list_(pa.string())))),
)  # fmt: skip
NAMES = ("tokens", "tags", "ner_tags", "labels", "a.b", "", "tokens.list")


@st.composite
def _tables(draw: st.DrawFn) -> bytes:
    """Parquet with columns of any kinds, under any names."""
    names = ["tokens", draw(st.sampled_from(["tags", "ner_tags"]))]
    names = draw(st.one_of(st.just(names), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)))
    kinds = [st.sampled_from(COLUMNS[:3]), *[st.one_of(st.sampled_from(COLUMNS[3:8]), st.sampled_from(COLUMNS))] * 2]
    columns = [draw(st.one_of(kind, st.sampled_from(COLUMNS))) for kind in kinds[: len(names)]]
    table = pa.table([pa.array(values, kind) for values, kind in columns], names=names)
    if draw(st.booleans()):
        feature = {name: draw(st.sampled_from(FEATURES)) for name in names}
        said = json.dumps({"info": {"features": feature}}).encode()
        table = table.replace_schema_metadata(
            {b"huggingface": draw(st.one_of(st.just(said), st.sampled_from(METADATA)))}
        )
    return _parquet(table)


def _plain_tables() -> list[bytes]:
    tokens = pa.array([["Ada", "wrote"], ["Bob"]] * 20)
    table = pa.table({"tokens": tokens, "tags": pa.array([["B-PER", "O"], ["O"]] * 20), "id": pa.array(range(40))})
    return [
        _parquet(table),
        _parquet(table, use_dictionary=False, compression="none"),
        _parquet(table, compression="zstd", row_group_size=5, data_page_version="2.0"),
        _parquet(table, compression="gzip", use_byte_stream_split=False, write_page_checksum=True),
    ]


PLAIN_TABLES = _plain_tables()


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file's ending and what it holds."""
    name = draw(st.sampled_from([*TEXTS, "parquet", "parquet"]))
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return name, draw(st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"\n", b"\xef\xbb\xbf", b"\0" * 99])))
    if name == "parquet":
        if kind < 5:
            return name, draw(_tables())
        return name, damaged(draw(st.sampled_from(PLAIN_TABLES)), draw(damages()) if kind < 11 else ())
    if name == "jsonl" and kind == 1:
        keys = st.sampled_from(["tokens", "tags", "labels", *ROLES])
        return name, json.dumps({draw(keys): draw(_json), draw(keys): draw(_json)}).encode()
    if name == "jsonl" and kind == 2:
        deep = draw(st.integers(1, 1200))
        return name, b'{"tokens": ["a"], "tags": [' + b"[" * deep + b"]" * deep + b"]}"
    raw = draw(st.sampled_from(TEXTS[name]))(draw(_rows if kind < 4 else _good))
    return name, damaged(raw, draw(damages())) if kind < 9 else raw


_settings = st.builds(
    DataConfig,
    format=st.sampled_from(["auto"] * 6 + ["conll", "jsonl", "csv", "tsv", "text", "parquet"]),
    columns=st.one_of(
        st.just({}),
        st.dictionaries(
            st.sampled_from(["tokens", "tags", "text", "label", *ROLES]),
            st.sampled_from(["tokens", "tags", "a.b", "", "tokens.list", 1, 2, 9]),
        ),
    ),
    iob=st.sampled_from(["strict", "repair"]),
)

_kinds = st.sampled_from([*[TAGGED] * 4, *dict.fromkeys(task.kind for task in TASKS.values())])


@fuzzed
@given(_files(), _settings, _kinds)
def test_a_file_is_read_or_refused_in_words(
    trial: Trial, file: tuple[str, bytes], data: DataConfig, kind: ExampleKind
) -> None:
    ending, raw = file
    path = trial.given / f"train.{ending}"
    path.write_bytes(raw)
    try:
        read = trial.read(f"data: {ending}", lambda: read_split(str(path), split="train", data=data, kind=kind))
        _check(read)
        assert _streamed(str(path), data, kind) == (str(read) if isinstance(read, UserError) else _bytes(read))
        found = trial.read("data: sources", lambda: sources(data.model_copy(update={"path": str(trial.given)})))
        assert found == {"train": str(path)}
    finally:
        path.unlink()


def _streamed(path: str, data: DataConfig, kind: ExampleKind) -> str | list[bytes]:
    """The rows that a stream has, or what it says is wrong."""
    rows: list[bytes] = []
    for block in blocks(path, split="train", data=data, kind=kind):
        if (fault := fault_of(block)) is not None:
            return fault
        rows += block["row"].to_pylist()
    assert [to_bytes(from_bytes(row)) for row in rows] == rows
    return rows


def _bytes(table: Table[Any]) -> list[bytes]:
    return [to_bytes(row) for row in table.rows]


def _check(table: object) -> None:
    if isinstance(table, Table):
        assert table.rows
        tagged = [row for row in table.rows if isinstance(row, TaggedSentence)]
        assert not tagged or any(row.words for row in tagged)
        assert all(len(row.words) == len(row.tags) for row in tagged)
        assert CANARY not in table.labels


@pytest.fixture
def saved(trial: Trial) -> Trial:
    """Beside the folder, where nobody should look, is a data set of its own."""
    for place, tag in (trial.place / "good", "B-PER"), (trial.place / "beside", f"B-{CANARY}"):
        kinds = datasets.Features(
            {
                "tokens": datasets.List(datasets.Value("string")),
                "ner_tags": datasets.List(datasets.ClassLabel(names=["O", tag])),
            }
        )
        rows = {"tokens": [["Ada", "wrote"]] * 5, "ner_tags": [[1, 0]] * 5}
        datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=kinds)).save_to_disk(str(place))
    return trial


ARROW = "data-00000-of-00001.arrow"
SAVED = ("dataset_dict.json", "train/state.json", "train/dataset_info.json", f"train/{ARROW}")

SAID = {
    "dataset_dict.json": ["splits"],
    "train/state.json": ["_data_files", "_format_type", "_format_columns", "_format_kwargs", "_split", "_fingerprint"],
    "train/dataset_info.json": ["features", "splits", "version", "description", "download_size"],
}
INSTEAD = (
    "train", 5, None, [], {}, [5], [{"filename": f"../../beside/train/{ARROW}"}], [{"filename": "/etc/hostname"}],
    [{"file": 1}], [None], ["../../beside/train"], ["../beside"], {"tokens": 5}, {"tokens": {"_type": "Nothing"}},
    {"tokens": {"_type": "Value"}}, {"tokens": {"_type": "Value", "dtype": "nothing"}}, "numpy", "torch", "nothing",
    {"tokens": {"_type": "Image"}, "ner_tags": {"_type": "Value", "dtype": "string"}},
)  # fmt: skip


@st.composite
def _harm(draw: st.DrawFn) -> tuple[str, Any]:
    """What happens to one file of a saved folder: damage, its loss, or JSON that says something else."""
    name = draw(st.sampled_from(SAVED))
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return name, None
    if kind == 1 or name.endswith(".arrow"):
        return name, draw(damages())
    return name, {draw(st.sampled_from(SAID[name])): draw(st.one_of(st.sampled_from(INSTEAD), _json))}


@fuzzed
@given(st.lists(_harm(), max_size=2), st.sampled_from(["train", "dev"]))
def test_a_saved_folder_is_read_or_refused_in_words(saved: Trial, harms: list[tuple[str, Any]], split: str) -> None:
    folder = saved.given / "folder"
    lay(folder, {name: (saved.place / "good" / name).read_bytes() for name in SAVED})
    for name, harm in harms:
        _do(folder / name, harm)
    _check(saved.read("data: saved", lambda: read_split(str(folder), split=split, data=DataConfig(), kind=TAGGED)))
    saved.read("data: sources of saved", lambda: sources(DataConfig(path=str(folder))))


def _do(path: Path, harm: Any) -> None:
    if harm is None:
        path.unlink(missing_ok=True)
    elif path.is_file() and isinstance(harm, dict):
        try:
            told = json.loads(path.read_bytes())
        except ValueError:
            return
        path.write_text(json.dumps(told | harm if isinstance(told, dict) else harm), encoding="utf-8")
    elif path.is_file():
        path.write_bytes(damaged(path.read_bytes(), harm))
