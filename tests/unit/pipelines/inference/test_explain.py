"""Explanations: shares that are known by hand, and those of models with random weights."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import UserError
from pipelines.inference.aside import Aside, BusyError
from pipelines.inference.class_predictor import LabelPredictor, TextOrPair
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.explain import Explained
from pipelines.inference.explain_texts import TextExplainer
from pipelines.inference.faithfulness import faithfulness
from pipelines.inference.integrated import integrate
from pipelines.inference.predictor import Text
from pipelines.inference.predictors import load_predictor
from pipelines.tasks import make_task
from tests.unit.pipelines.inference.conftest import MakeModel
from tests.unit.pipelines.tasks.samples import SAMPLES, model_of

pytestmark = pytest.mark.timeout(60)


class Numbers(nn.Module):
    """A model whose embedding of sub-word `n` is the number `n`."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.arange(10.0)[:, None])

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table


def shares(ids: list[int], score: Any, steps: int = 32) -> tuple[list[float], float]:
    model: Any = Numbers()
    return integrate(model, torch.tensor([ids]), torch.zeros(1, len(ids), dtype=torch.long), score, steps=steps)


def test_a_sum_s_shares_are_its_parts() -> None:
    found, error = shares([3, 0, 5], lambda vectors: vectors.sum((1, 2)))
    assert found == pytest.approx([3, 0, 5])
    assert error == pytest.approx(0, abs=1e-5)


def test_the_shares_of_a_sum_s_square_are_each_part_times_the_sum() -> None:
    found, error = shares([3, 0, 5], lambda vectors: vectors.sum((1, 2)) ** 2)
    assert found == pytest.approx([24, 0, 40])
    assert error == pytest.approx(0, abs=1e-3)


def test_the_error_is_what_the_shares_lack() -> None:
    found, error = shares([3, 5], lambda vectors: torch.sigmoid(20 * (vectors.sum((1, 2)) - 7.9)), steps=8)
    assert error == pytest.approx(sum(found) - float(torch.sigmoid(torch.tensor(2.0))), abs=1e-4)
    assert abs(error) > 0.01


def test_what_is_named_right_is_comprehensive_and_sufficient() -> None:
    def score(rows: Tensor) -> Tensor:
        """1 with a 7, else 0."""
        return (rows == 7).any(-1).float()

    ids, places = torch.tensor([1, 7, 2, 3, 4, 9]), [1, 2, 3, 4]
    right = faithfulness(score, ids, [0.9, 0.1, 0.0, -0.1], places, 0)
    # Of 4 sub-words 1, 1, 1, 1 and 2: the 7 is always among them.
    assert (right.comprehensiveness, right.sufficiency) == (1, 0)
    wrong = faithfulness(score, ids, [-0.9, 0.1, 0.0, -0.1], places, 0)
    assert (wrong.comprehensiveness, wrong.sufficiency) == (0, 1)
    chance = right.random_comprehensiveness
    assert 0 < chance < 1
    assert (wrong.random_comprehensiveness, chance + right.random_sufficiency) == (chance, pytest.approx(1))


def make_predictor(task: str, folder: Path) -> Any:
    sample = SAMPLES[task]
    written = sample.write(folder / "begun")
    made = make_task(task)
    made.load_processor(str(written)).save_pretrained(folder / "model")
    model_of(made, sample, written).float().save_pretrained(folder / "model")
    (folder / "model" / "task.json").write_text(json.dumps({"task": task}))
    return load_predictor(folder / "model", threads=1)


def adds_up(found: Explained) -> bool:
    total = sum(token.attribution for token in found.tokens)
    return total - found.convergence_error == pytest.approx(found.score - found.blank_score, abs=1e-5)


def test_a_label_s_score_is_explained_over_both_texts(tmp_path: Path) -> None:
    predictor = make_predictor("sequence-classification", tmp_path)
    given = TextOrPair("Ann left", "it rains")
    [output] = predictor.predict([given])
    found = predictor.explainer().explain(given)
    assert (found.target, found.score) == (output.label, pytest.approx(output.score, abs=1e-5))
    assert adds_up(found)
    assert abs(found.convergence_error) < 1e-3
    assert "".join(token.text for token in found.tokens if token.field == "text") == "Annleft"
    assert "".join(token.text for token in found.tokens if token.field == "pair") == "itrains"
    other = next(label for label in output.scores if label != output.label)
    assert predictor.explainer().explain(given, other).score == pytest.approx(output.scores[other], abs=1e-5)


@pytest.mark.parametrize("task", ["multi-label-classification", "regression"])
def test_labels_of_several_and_numbers_are_explained(task: str, tmp_path: Path) -> None:
    predictor = make_predictor(task, tmp_path)
    [output] = predictor.predict([TextOrPair("Ann left")])
    found = predictor.explainer().explain(TextOrPair("Ann left"))
    said = output.value if task == "regression" else max(output.scores.values())
    assert found.score == pytest.approx(said, abs=1e-5)
    assert adds_up(found)


def test_an_entity_s_score_is_explained_at_places_in_the_raw_text(make_model: MakeModel) -> None:
    # Every word is an entity.
    predictor = EntityPredictor.load(make_model(labels=("B-PER", "B-LOC", "B-ORG", "B-DAY", "B-ART")), threads=1)
    text = "😀 Ada, 住在北京 Bo"
    [output] = predictor.predict([Text(text)])
    assert len(output.entities) == 8
    for i, entity in enumerate(output.entities):
        found = predictor.explainer().explain(Text(text), i)
        assert (found.target, found.score) == (entity.type, pytest.approx(entity.score, abs=1e-5))
        assert adds_up(found)
        assert "".join(token.text for token in found.tokens) == text.replace(" ", "")
        assert all(text[token.start : token.end] == token.text for token in found.tokens)
    with pytest.raises(UserError, match=rf"no entity 99 in the text; it has {len(output.entities)}, counted from 0"):
        predictor.explainer().explain(Text(text), 99)


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("Ann " * 300, None, r"The input has \d+ sub-words, and \d+ can be explained: send a part of it"),
        ("", None, "no sub-word to explain by"),
        ("Ann", "snow", "no such label; it knows "),
        ("Ann", 0, "no such label; it knows "),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(
    text: str, target: str | int | None, words: str, tmp_path: Path
) -> None:
    predictor = make_predictor("sequence-classification", tmp_path)
    with pytest.raises(UserError, match=words):
        predictor.explainer().explain(TextOrPair(text), target)


@pytest.mark.parametrize("text", ["", " ", "Ada " * 30, "Ada"])
def test_texts_with_no_word_and_too_long_ones_have_no_explained_entity(text: str, tiny_model_folder: Path) -> None:
    with pytest.raises(UserError):
        EntityPredictor.load(tiny_model_folder, threads=1).explainer().explain(Text(text), 99)


def test_predictions_made_meanwhile_are_as_ever(tmp_path: Path) -> None:
    predictor: LabelPredictor = make_predictor("sequence-classification", tmp_path)
    given, made = TextOrPair("Ann left"), []
    before = predictor.predict([given])

    def scores(logits: Tensor) -> Tensor:
        made.extend(predictor.predict([given]))
        return logits.softmax(-1)

    TextExplainer(predictor._model, predictor._tokenizer, predictor.labels, scores).explain(given, steps=8)
    assert len(made) > 3
    assert made == before * len(made)


def test_beside_the_predictions_few_work_and_few_wait() -> None:
    async def ask() -> tuple[list[str], int]:
        aside, go = Aside(at_once=1, waiting=1), Event()
        waiting = [asyncio.create_task(aside.run(lambda: "done" if go.wait(20) else "late")) for _ in range(3)]
        # Each task begins before this one goes on.
        await asyncio.sleep(0)
        go.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        again = await aside.run(lambda: "free")
        return [again, *(one for one in found if isinstance(one, str))], sum(
            isinstance(one, BusyError) for one in found
        )

    assert asyncio.run(ask()) == (["free", "done", "done"], 1)
