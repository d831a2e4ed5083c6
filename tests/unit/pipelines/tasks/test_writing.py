"""Texts that a cut model writes are those that `generate` of transformers writes, sub-word by sub-word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.config import TrainConfig
from pipelines.data.batches import MicroBatch
from pipelines.data.examples import Chat, Document, Message, Translated
from pipelines.data.pack import merge, pack
from pipelines.errors import UserError
from pipelines.model.load import without_caches
from pipelines.model.units import find_units
from pipelines.tasks import TASKS
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.writing import Asked, WritingTask, write
from pipelines.tasks.writing_rules import WritingRules, rules_of
from tests.tiny_lm import write_lm
from tests.unit.pipelines.one_process import OneProcess

MOST = 12
PAIRS = [Translated(text, "x") for text in ("Ann is in Oslo.", "it rains", "", "Bob left Rome for Lima, they say")]
CHATS = [
    Chat((Message("user", text), Message("assistant", "x")))
    for text in ("Where?", "Is Ann in Oslo?", "", "Who left Rome for Lima?")
]
RULES: dict[str, Any] = {
    "no_repeat_ngram_size": 2, "min_length": 4, "repetition_penalty": 1.5, "bad_words_ids": [[7], [8, 9]],
    "suppress_tokens": [20], "begin_suppress_tokens": [30],
}  # fmt: skip


class Written:
    """A task's rows, written by a model in as many stages as units, and by `generate`."""

    def __init__(self, name: str, folder: Path, rows: Sequence[Any], **rules: Any) -> None:
        probe = TASKS[name]()
        assert isinstance(probe, WritingTask)
        self.processor = probe.load_processor(str(folder))
        model = probe.auto_class.from_pretrained(folder, dtype=torch.float64).eval()
        model.generation_config.update(**rules)
        kept = rules_of(model.generation_config, MOST)
        task = TASKS[name](settings=TaskSettings(rules=kept))
        assert isinstance(task, WritingTask)
        self.task, self.rows = task, task.encode(rows, self.processor, [], 64)
        self.true = [self._generated(model, row) for row in range(len(rows))]
        without_caches(model)
        units = find_units(model, task.probe(self.processor))
        self._stages = OneProcess(
            model, cut=range(1, len(units)), train=TrainConfig(), dtype="float64", head=task, units=units
        )
        self._calls = 0
        asked = {n: task.asked(row, one, 64) for n, (row, one) in enumerate(zip(rows, self.rows, strict=True))}
        assert None not in asked.values()
        found = {row: one for row, one in asked.items() if one is not None}
        self.said = write(found, self._next_tokens, most=MOST, ends=kept.ends, token_budget=100)

    def _next_tokens(self, batches: Sequence[MicroBatch], written: Mapping[int, Sequence[int]]) -> dict[int, int]:
        self._calls -= 1
        padding = self.task.padding(self.processor)
        merged = []
        for batch in batches:
            examples = [self.task.resumed(self.rows[row], written[row]) for row in batch.rows]
            merged.append(merge([pack(examples, range(len(examples)))], padding))
        answers = self._stages.evaluate(self._calls, merged)
        return {
            row: token
            for batch, found in zip(batches, answers, strict=True)
            for row, token in zip(batch.rows, found, strict=True)
        }

    def _generated(self, model: Any, row: int) -> list[int]:
        """Alone, so that no padding has a part in it."""
        example = self.task.resumed(self.rows[row], [])
        batch = merge([pack([example], [0])], self.task.padding(self.processor))
        before = 1 if "decoder_input_ids" in batch else batch["input_ids"].shape[1]
        ids = {name: batch[name] for name in ("input_ids", "attention_mask")}
        out = model.generate(**ids, do_sample=False, num_beams=1, max_new_tokens=MOST)
        found: list[int] = out[0, before:].tolist()
        return found


@pytest.mark.parametrize("rules", [{}, RULES], ids=["plain", "rules"])
@pytest.mark.parametrize("family", ["t5", "bart", "marian"])
def test_an_encoder_and_a_decoder_in_pieces_write_what_generate_does(
    family: str, rules: dict[str, Any], tmp_path: Path
) -> None:
    both = Written("seq2seq-lm", write_lm(tmp_path / "model", family, spread=0.4), PAIRS, **rules)
    assert list(both.said.values()) == both.true
    assert len({tuple(found) for found in both.true}) > 1, "every text is the same: nothing is shown by it"


@pytest.mark.parametrize("rules", [{}, {"no_repeat_ngram_size": 2, "min_new_tokens": 4}], ids=["plain", "rules"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_in_pieces_answers_as_generate_does(family: str, rules: dict[str, Any], tmp_path: Path) -> None:
    both = Written("causal-lm", write_lm(tmp_path / "model", family), CHATS, **rules)
    assert list(both.said.values()) == both.true
    assert len({tuple(found) for found in both.true}) > 1, "every text is the same: nothing is shown by it"


def test_a_text_is_asked_for_no_more_when_it_has_ended_or_there_is_no_room() -> None:
    rounds = []

    def next_tokens(batches: Sequence[MicroBatch], written: Mapping[int, Sequence[int]]) -> dict[int, int]:
        rounds.append([batch.rows for batch in batches])
        return {row: 1 if row == 5 and len(written[5]) == 1 else 7 for batch in batches for row in batch.rows}

    asked = {3: Asked(4, 2, ""), 5: Asked(6, 9, ""), 8: Asked(2, 9, ""), 9: Asked(2, 0, "")}
    found = write(asked, next_tokens, most=3, ends=(1,), token_budget=12)
    assert found == {3: [7, 7], 5: [7, 1], 8: [7, 7, 7], 9: []}
    assert rounds == [[(5, 3), (8,)], [(5,), (3, 8)], [(8,)]]


def test_of_a_chat_the_last_answer_is_asked_for_and_of_a_text_nothing(tmp_path: Path) -> None:
    task = TASKS["causal-lm"]()
    assert isinstance(task, WritingTask)
    processor = task.load_processor(str(write_lm(tmp_path / "model", "gpt2", layers=1)))
    said = (Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "So"), Message("assistant", "No"))
    rows = [Chat(said), Document("it rains")]
    chat, text = task.encode(rows, processor, [], 64)
    asked = task.asked(rows[0], chat, 64)
    assert asked is not None
    assert asked.text == "No"
    assert asked.room == 64 - asked.length
    resumed = task.resumed(chat, [40])
    before = processor.decode(resumed.columns["input_ids"][:-1].tolist())
    assert before == "User: Hi\n\nAssistant: Ho</s>\n\nUser: So\n\nAssistant:"
    assert "asked" not in task.inputs({"asked": torch.ones(1)})
    assert task.asked(rows[1], text, 64) is None


def test_a_rule_that_is_not_kept_is_refused() -> None:
    from transformers import GenerationConfig

    with pytest.raises(UserError, match=r"sets sequence_bias, which is not kept here .* train\.max_new_tokens=0\."):
        rules_of(GenerationConfig(sequence_bias=[[[5], 1.0]]), 8)
    assert rules_of(GenerationConfig(eos_token_id=1), 8) == WritingRules(8, ends=(1,))
