"""What a served model answers is what its task scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from pipelines.data import examples
from pipelines.data.examples import Chat, Document, LabelledText, Message
from pipelines.data.order import pieces_of
from pipelines.data.pack import merge, pack
from pipelines.inference.answer_predictor import Question
from pipelines.inference.mask_predictor import MaskPredictor
from pipelines.inference.predictor import Text
from pipelines.inference.predictors import load_predictor
from pipelines.inference.text_predictor import Prompt
from pipelines.tasks import make_task
from pipelines.tasks.question_answering import said
from tests.unit.pipelines.inference.test_every_predictor import saved


def answered(name: str, rows: list[Any], folder: Path) -> tuple[list[Any], list[Any]]:
    """What is true of every example of the rows, and what the head answers to it."""
    task = make_task(name)
    processor = task.load_processor(str(folder))
    encoded = task.encode(rows, processor, (), 64)
    batch = merge([pack(encoded, range(len(encoded)))], task.padding(processor))
    with torch.no_grad():
        answers = task.answers(task.auto_class.from_pretrained(folder).eval()(**task.inputs(batch)), batch)
    pieces = pieces_of([one.continues for one in encoded]).tolist()
    of = [row for row, count in zip(rows, pieces, strict=True) for _ in range(count)]
    return [task.gold(row, one) for row, one in zip(of, encoded, strict=True)], answers


def test_answers_to_questions_are_those_that_are_scored(tmp_path: Path) -> None:
    folder = saved("question-answering", tmp_path)
    asked = [("who left", "Ann left Oslo"), ("where", "it rains in New York"), ("who", "Bob")]
    asked += [("where", "it rains in New York " * n) for n in range(3, 12)]
    rows = [examples.Question(*one, ()) for one in asked]
    windows, told = answered("question-answering", rows, folder)
    assert len(windows) > len(rows)
    kept, answers = make_task("question-answering").settled(windows, told)
    gold = [windows[n] for n in kept]
    found = load_predictor(folder, threads=1).predict([Question(*one) for one in asked])
    assert [one.answer or "" for one in found] == [said(*pair) for pair in zip(gold, answers, strict=True)]
    assert [one.score for one in found] == pytest.approx([float(answer[2]) for answer in answers], abs=1e-6)
    for one, (_, context) in zip(found, asked, strict=True):
        assert one.answer is None or context[one.start : one.end] == one.answer


def test_vectors_are_those_that_are_scored(tmp_path: Path) -> None:
    folder = saved("sentence-embedding", tmp_path)
    rows = [LabelledText("Ann left", "Oslo"), LabelledText("it rains there", "Rome")]
    vectors = answered("sentence-embedding", rows, folder)[1]
    found = load_predictor(folder, threads=1).predict([Text(row.text) for row in rows])
    for one, answer in zip(found, vectors, strict=True):
        assert one.vector == pytest.approx(answer[0].tolist(), abs=1e-6)
        assert np.linalg.norm(one.vector) == pytest.approx(1)


def test_a_gap_gets_the_likeliest_words_and_one_behind_the_longest_input_none(tmp_path: Path) -> None:
    folder = saved("masked-lm", tmp_path)
    predictor = load_predictor(folder, threads=1)
    assert isinstance(predictor, MaskPredictor)
    (two,) = predictor.predict([Text("A[MASK]b<mask>")])
    assert [len(guesses) for guesses in two.gaps] == [5, 5]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("A<mask>b<mask>", return_tensors="pt")
    with torch.no_grad():
        logits = make_task("masked-lm").auto_class.from_pretrained(folder).eval()(**ids).logits[0]
    for gap, at in zip(two.gaps, (2, 4), strict=True):
        assert gap[0].text == tokenizer.decode(logits[at].argmax()).strip()
        assert gap[0].score == pytest.approx(float(logits[at].softmax(-1).max()), abs=1e-6)
        assert sorted(gap, key=lambda one: -one.score) == gap
    (long,) = predictor.predict([Text("x" * 100 + "[MASK]")])
    assert long.gaps == [[]]


def test_a_chat_s_answer_and_a_text_s_end_are_those_of_generate(tmp_path: Path) -> None:
    folder = saved("causal-lm", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where is Ann?"}], tokenize=False, add_generation_prompt=True
    )
    for chats, text in (("true", asked), ("false", "Where is Ann?")):
        (folder / "task.json").write_text(f'{{"task": "causal-lm", "chats": {chats}}}')
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        out = model.generate(input_ids=ids, do_sample=False, max_new_tokens=6, pad_token_id=0)
        (found,) = load_predictor(folder, threads=1).predict([Prompt("Where is Ann?", 6)])
        assert found.text == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
        assert found.left_out == 0
    (long,) = load_predictor(folder, threads=1).predict([Prompt("it rains " * 40, 6)])
    assert long.left_out == 9 * 40 - (64 - 6)


def test_a_translation_is_that_of_generate(tmp_path: Path) -> None:
    folder = saved("seq2seq-lm", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = AutoModelForSeq2SeqLM.from_pretrained(folder).eval().generate(
        **tokenizer("Ann is in Oslo.", return_tensors="pt", return_token_type_ids=False), do_sample=False,
        max_new_tokens=6,
    )  # fmt: skip
    (found,) = load_predictor(folder, threads=1).predict([Prompt("Ann is in Oslo.", 6)])
    assert found.text == tokenizer.decode(out[0], skip_special_tokens=True).strip()


def test_a_document_is_no_chat() -> None:
    task, chat = make_task("causal-lm"), Chat((Message("user", "a"), Message("assistant", "b")))
    assert task.facts(task.count(Document("it rains"))) == {"chats": False}
    assert task.facts(task.count(chat)) == {"chats": True}
