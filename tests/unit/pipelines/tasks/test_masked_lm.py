from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data.batches import MicroBatch
from pipelines.data.examples import IGNORE, Document, Encoded
from pipelines.data.order import Order
from pipelines.data.pack import merge, pack
from pipelines.data.shard import DataShard
from pipelines.errors import UserError
from pipelines.tasks.masked_lm import MaskedLM
from pipelines.tasks.settings import TaskSettings
from tests.tiny import write_model
from tests.tiny_lm import write_lm

MASK, BEGIN, END = 4, 2, 1
TEXTS = [Document(f"{n} little words that say something about nothing ." * 3) for n in range(40)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return MaskedLM().load_processor(str(write_lm(tmp_path_factory.mktemp("model"), "bert")))


def test_about_as_many_sub_words_as_asked_for_are_hidden_most_of_them_behind_the_mask(tokenizer: Any) -> None:
    found = MaskedLM(settings=TaskSettings(mask_probability=0.3)).encode(TEXTS, tokenizer, [], 512)
    shown = np.concatenate([example.columns["input_ids"] for example in found])
    sought = np.concatenate([example.columns["labels"] for example in found])
    truth = np.concatenate([tokenizer(row.text)["input_ids"] for row in TEXTS])
    hidden = sought != IGNORE
    assert hidden.sum() == sum(example.num_targets for example in found)
    assert hidden.mean() == pytest.approx(0.3, abs=0.01)
    assert (sought[hidden] == truth[hidden]).all()
    assert (shown[~hidden] == truth[~hidden]).all()
    assert (shown[hidden] == MASK).mean() == pytest.approx(0.8, abs=0.03)
    assert (shown[hidden] == truth[hidden]).mean() == pytest.approx(0.1, abs=0.03)
    assert not np.isin(truth[hidden], [BEGIN, END]).any()


def test_what_is_hidden_depends_on_the_seed_and_the_text_alone(tokenizer: Any) -> None:
    def hidden(rows: list[Document], seed: int) -> list[list[int]]:
        task = MaskedLM(settings=TaskSettings(seed=seed))
        return [example.columns["labels"].tolist() for example in task.encode(rows, tokenizer, [], 512)]

    assert hidden(TEXTS, 0) == hidden(TEXTS, 0)
    assert hidden(TEXTS[1::2], 0) == hidden(TEXTS, 0)[1::2]
    assert hidden(TEXTS, 0) != hidden(TEXTS, 1)


def truth(example: Encoded) -> list[int]:
    """The sub-words as they were."""
    labels = example.columns["labels"]
    return np.where(labels == IGNORE, example.columns["input_ids"], labels).tolist()


def test_every_epoch_hides_as_many_others_of_the_same_text(tokenizer: Any) -> None:
    task = MaskedLM()
    for example in task.encode(TEXTS, tokenizer, [], 512):
        epochs = [task.drawn(example, tokenizer, epoch) for epoch in range(3)]
        hidden = [tuple(np.flatnonzero(one.columns["labels"] != IGNORE)) for one in (example, *epochs)]
        assert len(set(hidden)) == 4
        assert {len(places) for places in hidden} == {example.num_targets}
        assert {tuple(truth(one)) for one in (example, *epochs)} == {tuple(truth(example))}
        assert {one.columns["labels"][0] for one in epochs} == {IGNORE}


def test_masks_of_an_epoch_depend_on_seed_epoch_and_text_alone(tokenizer: Any) -> None:
    def masks(rows: list[Document], seed: int, epochs: range) -> list[list[list[int]]]:
        task = MaskedLM(settings=TaskSettings(seed=seed))
        examples = task.encode(rows, tokenizer, [], 512)
        return [
            [task.drawn(one, tokenizer, epoch).columns["input_ids"].tolist() for one in examples] for epoch in epochs
        ]

    assert masks(TEXTS, 0, range(3))[1:] == masks(TEXTS, 0, range(1, 3))
    assert masks(TEXTS[1::2], 0, range(2)) == [epoch[1::2] for epoch in masks(TEXTS, 0, range(2))]
    assert masks(TEXTS, 0, range(1)) != masks(TEXTS, 1, range(1))


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_any_number_of_data_shards_hands_out_the_same_masks_and_those_of_dev_stay(
    tmp_path: Path, num_shards: int
) -> None:
    source = str(write_lm(tmp_path / "model", "bert"))
    for split in ("train", "dev"):
        (tmp_path / f"{split}.txt").write_text("\n".join(row.text for row in TEXTS[:8]), encoding="utf-8")
    data, task = DataConfig(path=str(tmp_path), shards=num_shards), MaskedLM()
    shards = [DataShard(data, task, shard=s, num_shards=num_shards) for s in range(num_shards)]
    pieces = []
    for shard in shards:
        shard.load()
        pieces.append(shard.encode(source, (), 64)["train"].pieces.tolist())
    order, processor = Order(pieces), task.load_processor(source)
    plain = task.encode(TEXTS[:8], processor, (), 64)
    rows, padding = (3, 0, 9, 4), task.padding(processor)

    def handed(split: str, epoch: int | None) -> dict[str, list[Any]]:
        dealt = order.deal([MicroBatch(rows, 64, epoch=epoch)])
        parts = [shard.micro_batches(split, own)[0] for shard, own in zip(shards, dealt, strict=True)]
        batch = merge(parts, padding)
        return {name: column.tolist() for name, column in (*task.inputs(batch).items(), ("labels", batch["labels"]))}

    seen = []
    for epoch in (0, 1, 1, None):
        wanted = [plain[n] if epoch is None else task.drawn(plain[n], processor, epoch) for n in rows]
        merged = merge([pack(wanted, range(len(rows)))], padding)
        found = handed("dev" if epoch is None else "train", epoch)
        assert found == {name: merged[name].tolist() for name in found}
        seen.append(found["input_ids"])
    assert seen[0] != seen[1] == seen[2] != seen[3]


def test_a_short_text_has_at_least_one_target_and_an_empty_one_has_none(tokenizer: Any) -> None:
    found = MaskedLM().encode([Document("a"), Document("")], tokenizer, [], 512)
    assert [example.num_targets for example in found] == [1, 0]


def test_a_long_text_goes_on_in_pieces_that_hold_all_of_it(tokenizer: Any) -> None:
    found = MaskedLM().encode([Document("abcdefghij"), Document("k")], tokenizer, [], 6)
    assert [(example.length, example.continues) for example in found] == [
        (6, False), (6, True), (4, True), (3, False),
    ]  # fmt: skip
    assert sum(example.num_cut for example in found) == 0


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no mask token, .* or train\.task=causal-lm\."):
        MaskedLM().load_processor(str(write_model(tmp_path / "model", layers=1)))
