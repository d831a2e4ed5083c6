"""Held on disk or in memory, from a stream or read at once: the same examples, bit by bit, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data.anonymous import MB, Anonymous, anonymous
from pipelines.data.example_file import ExampleFile
from pipelines.data.examples import Encoded, Picture, Sound, ints
from pipelines.data.holding import OnDisk
from pipelines.data.labelled import ONE_LABEL
from pipelines.data.order import Where
from pipelines.data.pack import Packed
from pipelines.data.row_bytes import from_bytes, to_bytes
from pipelines.data.shard import DataShard, all_together
from pipelines.data.spool import BUFFER, Spool
from pipelines.data.stream import MOST_ROWS, blocks
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError
from pipelines.tasks import TASKS, make_task
from tests.tiny import write_data, write_model
from tests.unit.pipelines.tasks.samples import SAMPLES

LIMIT = 64 * MB
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
WEIGHTS = (0.1, 2.0, 0.7, 1.5, 0.3)

pytestmark = pytest.mark.skipif(anonymous() is None, reason="this system does not tell how much memory a process has")


def values(example: Encoded) -> tuple[Any, ...]:
    """All that an example is, to be compared."""
    columns = {name: (column.dtype, column.shape, column.tobytes()) for name, column in example.columns.items()}
    places = None if example.places is None else example.places.tolist()
    numbers = example.length, example.num_targets, example.num_cut, example.num_unseen, example.continues
    return list(columns.items()), numbers, list(example.words), places


def packed(parts: Sequence[Packed]) -> list[Any]:
    return [
        (
            part.places.tolist(),
            [(name, c.lengths.tolist(), c.values.dtype, c.values.tobytes()) for name, c in part.columns.items()],
        )
        for part in parts
    ]


def on_disk(folder: Path, rows: Sequence[Any], limit: int = LIMIT) -> tuple[OnDisk, Any]:
    holding = OnDisk(limit, "Data shard 0", str(folder))
    holding.memory.begin()
    file = holding.rows()
    for row in rows:
        file.append(to_bytes(row))
    return holding, file


# -- the same examples --------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_every_task_encodes_on_disk_what_it_encodes_in_memory(name: str, tmp_path: Path) -> None:
    task, sample = make_task(name), SAMPLES[name]
    processor = task.load_processor(str(sample.write(tmp_path / "model")))
    rows = [*sample.rows] * 5
    calls: list[int] = []

    def encode(some: Sequence[Any]) -> list[Encoded]:
        calls.append(len(some))
        return task.encode(some, processor, sample.labels, 8)

    holding, file = on_disk(tmp_path, rows)
    assert list(map(to_bytes, file)) == list(map(to_bytes, rows))
    examples = holding.encoded(file, encode)
    plain = task.encode(rows, processor, sample.labels, 8)
    assert [values(one) for one in examples] == [values(one) for one in plain]
    assert values(examples[len(plain) - 1]) == values(plain[-1])
    assert [values(one) for one in examples[1:3]] == [values(one) for one in plain[1:3]]
    # In more than one go, or nothing would be shown.
    assert len(calls) > 2
    for row, one, other in zip(rows, examples, plain, strict=False):
        assert str(task.gold(row, one)) == str(task.gold(row, other))


def test_a_row_that_names_a_file_or_holds_one_comes_back_as_it_was() -> None:
    for row in (Picture(Path("a/é.png"), "x", "f, row 1"), Sound(b"\x00\xff", "\ud800", "f, row 2")):
        assert from_bytes(to_bytes(row)) == row
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    found = from_bytes(to_bytes(Picture(pixels, "x", "f, row 3"))).source
    assert found.dtype == pixels.dtype
    assert found.tolist() == pixels.tolist()


@pytest.fixture
def streamed(tmp_path: Path) -> tuple[list[DataShard], list[DataShard]]:
    """Three shards in memory, and three that take the same rows of a stream, all encoded."""
    write_data(tmp_path / "data")
    source = str(write_model(tmp_path / "model", layers=1))
    task = make_task("token-classification")
    data = DataConfig(path=str(tmp_path / "data"))
    bounded = DataConfig.model_validate({"path": str(tmp_path / "data"), "memory": LIMIT, "scratch": str(tmp_path)})
    plain = [DataShard(data, task, shard=s, num_shards=3) for s in range(3)]
    other = [DataShard(bounded, task, shard=s, num_shards=3) for s in range(3)]
    summary, *_ = [shard.load() for shard in plain]
    for split in ("train", "dev", "test"):
        file = str(tmp_path / "data" / f"{split}.conll")
        for block in blocks(file, split=split, data=bounded, kind=task.kind):
            for shard in other:
                shard.take(split, block)
    assert all_together([shard.taken() for shard in other]) == summary
    found = [[shard.encode(source, LABELS, 24) for shard in some] for some in (plain, other)]
    for one, two in zip(*found, strict=True):
        assert str(one) == str(two)
    return plain, other


def test_a_shard_of_a_stream_hands_out_bitwise_what_one_in_memory_does(
    streamed: tuple[list[DataShard], list[DataShard]],
) -> None:
    for plain, other in zip(*streamed, strict=True):
        wanted = [[Where(0, 5), Where(2, 3)], [], [Where(1, 0), Where(0, 15), Where(2, 7)]]
        assert packed(plain.micro_batches("train", wanted)) == packed(other.micro_batches("train", wanted))
        assert plain.class_counts("train") == other.class_counts("train")
        assert plain.target_weights("train", WEIGHTS) == other.target_weights("train", WEIGHTS)
        assert plain.gold("dev", 0, 99) == other.gold("dev", 0, 99)
        assert plain.gold("dev", 1, 3) == plain.gold("dev", 0, 99)[1:3] == other.gold("dev", 1, 3)
        assert other.gold("dev", 99, 199) == []
        assert other.use.on_disk > 0
        assert plain.use.on_disk == 0


# -- the stream ---------------------------------------------------------------------------------


def test_a_file_becomes_blocks_in_its_order(tmp_path: Path) -> None:
    num = MOST_ROWS + 10
    lines = [json.dumps({"text": f"text {n}", "label": f"l{n % 3}"}) for n in range(num)]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(blocks(str(path), split="train", data=DataConfig(), kind=ONE_LABEL))
    assert [block.num_rows for block in found] == [MOST_ROWS, 10]
    rows = [from_bytes(raw) for block in found for raw in block["row"].to_pylist()]
    assert [row.text for row in rows] == [f"text {n}" for n in range(num)]


def test_a_row_that_is_larger_than_a_block_is_a_block_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("\n".join(["a", "b" * 2_000_000, "c"]), encoding="utf-8")
    found = blocks(str(path), split="train", data=DataConfig(), kind=make_task("masked-lm").kind)
    assert [block.num_rows for block in found] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ann\tB-PER\n\nBob\n", r"train\.conll, line 3: the word 'Bob' has no tag"),
        ("Ann\tI-PER\n", r"train\.conll, line 1: the tag 'I-PER' opens an entity"),
        ("\n", r"The train file .* holds no rows: at least one tagged sentence"),
    ],
)
def test_what_cannot_be_read_is_told_by_whoever_takes_the_rows(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.conll"
    path.write_text(text, encoding="utf-8")
    data = DataConfig.model_validate({"train": str(path), "memory": LIMIT, "scratch": str(tmp_path)})
    shard = DataShard(data, make_task("token-classification"), shard=0, num_shards=1)
    (block,) = blocks(str(path), split="train", data=data, kind=TAGGED)
    with pytest.raises(UserError, match=message):
        shard.take("train", block)


def test_tags_that_were_mended_are_counted_once_over_all_shards(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("\n\n".join(["Ann\tI-PER", "Bob\tB-PER", "Eve\tI-PER"]), encoding="utf-8")
    settings = {"train": str(path), "iob": "repair", "memory": LIMIT, "scratch": str(tmp_path)}
    data = DataConfig.model_validate(settings)
    shards = [DataShard(data, make_task("token-classification"), shard=s, num_shards=2) for s in range(2)]
    for block in blocks(str(path), split="train", data=data, kind=TAGGED):
        for shard in shards:
            shard.take("train", block)
    whole = all_together([shard.taken() for shard in shards])["train"]
    assert (whole.num_rows, whole.num_repaired, whole.labels) == (3, 2, {"B-PER"})


# -- bounds -------------------------------------------------------------------------------------


def test_more_memory_than_the_limit_is_an_error_that_says_how_much_and_what_to_change(tmp_path: Path) -> None:
    held: list[mmap] = []

    def greedy(rows: Sequence[Any]) -> list[Encoded]:
        # Pages of its own: an allocator may give what this process has already, since earlier tests gave it back.
        held.append(mmap(-1, 32 * MB, flags=MAP_PRIVATE | MAP_ANONYMOUS))
        # Memory that nobody wrote to is none yet.
        held[-1].write(b"x" * (32 * MB))
        return [Encoded({"labels": ints([0])}, 1, 1) for _ in rows]

    holding, file = on_disk(tmp_path, SAMPLES["masked-lm"].rows, limit=16 * MB)
    message = r"Data shard 0 took [3-9]\d\.\d MB of memory to encode its rows, and data.memory lets it take 16\.0 MB"
    with pytest.raises(UserError, match=message):
        holding.encoded(file, greedy)
    assert holding.use.peak is not None
    assert holding.use.peak > 30 * MB


def test_what_is_taken_aside_does_not_count() -> None:
    memory = Anonymous(16 * MB, "Data shard 0")
    memory.begin()
    with memory.aside():
        held = bytearray(b"x" * (32 * MB))
    memory.look("to encode its rows")
    assert memory.peak is not None
    assert memory.peak < 8 * MB
    del held


def test_a_folder_in_memory_is_refused_as_scratch() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no folder in memory here")
    with pytest.raises(UserError, match=r"/dev/shm for what is larger than memory is itself in memory \(tmpfs\)"):
        Spool(Path("/dev/shm"))


def test_a_folder_that_is_not_there_is_refused_as_scratch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone for what is larger than memory cannot be used: No such file"):
        Spool(tmp_path / "gone")


def test_a_spool_gives_back_what_it_was_given_and_leaves_nothing_in_its_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    records = [bytes([n % 251]) * (n * 7) for n in range(300)] + [b"x" * (2 * BUFFER)]
    for n, record in enumerate(records):
        spool.append([record[:3], record[3:]])
        assert spool.read(n) == record
    assert list(spool.pieces(0, len(spool))) == records
    assert list(spool.pieces(5, 9)) == records[5:9]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(IndexError):
        spool.read(len(records))


def test_examples_of_unlike_form_are_refused(tmp_path: Path) -> None:
    file = ExampleFile(tmp_path)
    file.extend([Encoded({"pixels": np.zeros((3, 4, 4), np.float32)}, 1, 1)])
    message = r"Example 2 .* pixels \[4, 5\] of float32, and those before it pixels \[4, 4\] of float32"
    with pytest.raises(UserError, match=message):
        file.extend([Encoded({"pixels": np.zeros((3, 4, 5), np.float32)}, 1, 1)])


def test_three_shards_take_every_third_row_of_blocks_of_any_size(tmp_path: Path) -> None:
    num = MOST_ROWS + 11
    path = tmp_path / "train.jsonl"
    lines = [json.dumps({"text": f"{n}", "label": f"l{n % 7}"}) for n in range(num)]
    path.write_text("\n".join(lines), encoding="utf-8")
    data = DataConfig.model_validate({"train": str(path), "memory": LIMIT, "scratch": str(tmp_path)})
    shards = [DataShard(data, make_task("sequence-classification"), shard=s, num_shards=3) for s in range(3)]
    source = str(write_model(tmp_path / "model", layers=1))
    for block in blocks(str(path), split="train", data=data, kind=ONE_LABEL):
        for piece in (block[:2], block[2:5], block[5:5], block[5:]):
            for shard in shards:
                shard.take("train", piece)
    for s, shard in enumerate(shards):
        shard.encode(source, [f"l{n}" for n in range(7)], 16)
        assert shard.gold("train", 0, num) == [f"l{n % 7}" for n in range(s, num, 3)]
