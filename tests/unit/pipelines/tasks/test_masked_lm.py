from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.data.examples import IGNORE, Document
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
