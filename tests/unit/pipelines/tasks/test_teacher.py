"""Learning from a teacher's answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from pipelines.config import DataConfig, TrainConfig, from_overrides
from pipelines.data.examples import IGNORE, LabelledText, TaggedSentence
from pipelines.data.pack import merge, pack
from pipelines.data.shard import DataShard
from pipelines.distil_settings import DistilConfig
from pipelines.errors import UserError
from pipelines.model.units import find_units
from pipelines.preflight import preflight
from pipelines.tasks import TASKS, make_task
from pipelines.tasks.cross_entropy import CrossEntropy
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.teacher import TEACHER, distance_sum
from pipelines.train.resume import lasting
from tests.tiny import write_model
from tests.unit.pipelines.one_process import OneProcess

# Of three classes with the probabilities 1/2, 1/4, 1/4, and with 1/3 each.
SURE, UNSURE = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log(), torch.zeros(1, 3, dtype=torch.float64)
ROWS = [
    LabelledText(text, None, (label,))
    for text, label in [("Ann left", "no"), ("it rains in Oslo", "yes"), ("Rome", "no"), ("Bob Lee met Carl", "maybe")]
]
LABELS = ["maybe", "no", "yes"]


def test_the_distance_is_the_divergence_of_the_model_from_the_teacher() -> None:
    by_hand = 1 / 2 * math.log(3 / 2) + 2 * 1 / 4 * math.log(3 / 4)
    assert distance_sum(UNSURE, SURE, 1.0, None).item() == pytest.approx(by_hand, rel=1e-12)
    assert distance_sum(SURE, SURE + 7, 3.0, None).item() == pytest.approx(0, abs=1e-15)


def test_a_temperature_makes_the_teacher_less_sure_and_leaves_the_gradients_their_size() -> None:
    # Square roots of 2, 1, 1 in their sum.
    p, q = math.sqrt(2) / (2 + math.sqrt(2)), 1 / (2 + math.sqrt(2))
    by_hand = 4 * (p * math.log(3 * p) + 2 * q * math.log(3 * q))
    assert distance_sum(UNSURE, SURE, 2.0, None).item() == pytest.approx(by_hand, rel=1e-12)


def test_rows_add_up_and_each_counts_what_it_weighs() -> None:
    one = distance_sum(UNSURE, SURE, 1.0, None)
    rows = [torch.cat([part, part]) for part in (UNSURE, SURE)]
    assert distance_sum(*rows, 1.0, None).item() == pytest.approx(2 * one.item(), rel=1e-12)
    weights = torch.tensor([3.0, 0.5], dtype=torch.float64)
    assert distance_sum(*rows, 1.0, weights).item() == pytest.approx(3.5 * one.item(), rel=1e-12)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0)])
def test_the_loss_is_a_share_of_each(weights: tuple[float, ...] | None) -> None:
    loss = CrossEntropy(weights=weights)
    distil = DistilConfig(teacher="x", weight=0.25, temperature=2.0)
    batch: dict[str, Tensor] = {"labels": torch.tensor([[1]]), TEACHER: SURE}
    output = SimpleNamespace(logits=torch.tensor([[0.5, 0.0, -1.0]], dtype=torch.float64))
    own = make_task("sequence-classification", loss).loss_sum(output, batch).item()
    distance = distance_sum(output.logits, SURE, 2.0, None).item() * (1 if weights is None else weights[1])
    found = make_task("sequence-classification", loss, TaskSettings(distil=distil)).loss_sum(output, batch)
    assert found.item() == pytest.approx(0.75 * own + 0.25 * distance, rel=1e-12)


def test_each_word_learns_from_its_label_and_from_what_the_teacher_said_of_it() -> None:
    distil = DistilConfig(teacher="x", weight=0.25, temperature=2.0)
    logits = torch.tensor([[[9.0, 9.0, 9.0], [0.5, 0.0, -1.0], [0.0, 2.0, 1.0]]], dtype=torch.float64)
    gone = torch.full((1, 3), math.nan, dtype=torch.float64)
    # The first sub-word has no label; of the last word the teacher said nothing.
    labels = torch.tensor([[IGNORE, 1, 2]])
    batch = {"labels": labels, TEACHER: torch.stack([gone, SURE, gone], 1)}
    settings = TaskSettings(distil=distil)
    found = make_task("token-classification", settings=settings).loss_sum(SimpleNamespace(logits=logits), batch)
    first, last = (CrossEntropy().sum(logits[:, at], labels[:, at]).item() for at in (1, 2))
    distance = distance_sum(logits[:, 1], SURE, 2.0, None).item()
    assert found.item() == pytest.approx(0.75 * first + 0.25 * distance + last, rel=1e-12)


def test_the_teacher_of_words_is_asked_for_the_words_that_both_read(tmp_path: Path) -> None:
    labels = ["O", "B-PER"]
    write_model(tmp_path / "model", layers=2)
    options = make_task("token-classification").model_options(labels[::-1])
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "model", **options).eval()
    model.save_pretrained(tmp_path / "model")
    rows = [TaggedSentence(("Ann", "left", "Rome"), ("B-PER", "O", "O"))]
    distil = DistilConfig(teacher=str(tmp_path / "model"))
    task = make_task("token-classification", settings=TaskSettings(distil=distil))
    examples = task.encode(rows, task.load_processor(distil.teacher), labels, 64)
    (learnt,) = task.taught(rows, examples, labels, 64)
    (own,) = examples
    with torch.no_grad():
        truth = model(input_ids=torch.from_numpy(own.columns["input_ids"]).long()[None]).logits[0][:, [1, 0]].numpy()
    there = own.columns["labels"] != IGNORE
    assert np.allclose(learnt.columns[TEACHER][there], truth[there], atol=1e-6)
    assert np.isnan(learnt.columns[TEACHER][~there]).all()
    # A teacher that reads less says nothing of the words behind.
    read = own.columns["labels"][: int(np.flatnonzero(there)[-1])]
    (cut,) = task.taught(rows, examples, labels, len(read) + 1)
    assert np.isfinite(cut.columns[TEACHER][there][:, 0]).tolist() == [True, True, False]


# -- the teacher --------------------------------------------------------------------------------


def write_teacher(folder: Path, labels: list[str]) -> str:
    write_model(folder, layers=2)
    torch.manual_seed(1)
    options = make_task("sequence-classification").model_options(labels)
    AutoModelForSequenceClassification.from_pretrained(folder, **options).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    # Its labels are in another order than the run's.
    return write_teacher(tmp_path_factory.mktemp("teacher") / "model", ["yes", "maybe", "no"])


def task_of(teacher: str, **settings: float):
    return make_task("sequence-classification", settings=TaskSettings(distil=DistilConfig(teacher=teacher, **settings)))


def answers(teacher: str) -> Tensor:
    """Of the teacher to every row, by the run's labels."""
    task = make_task("sequence-classification")
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    processor = task.load_processor(teacher)
    with torch.no_grad():
        found = [model(**processor(row.text, return_tensors="pt")).logits[0] for row in ROWS]
    return torch.stack(found)[:, [1, 2, 0]]


@pytest.mark.parametrize("num_shards", [1, 2, 3])
def test_every_training_row_has_the_same_answer_whichever_shard_holds_it(
    teacher: str, tmp_path: Path, num_shards: int
) -> None:
    lines = [json.dumps({"text": row.text, "label": row.labels[0]}) for row in ROWS]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    data, truth = DataConfig(path=str(tmp_path)), answers(teacher)
    for s in range(num_shards):
        shard = DataShard(data, task_of(teacher), shard=s, num_shards=num_shards)
        shard.load()
        shard.encode(teacher, LABELS, 64)
        found = [torch.from_numpy(example.columns[TEACHER]) for example in shard._encoded["train"]]
        assert torch.equal(torch.stack(found), truth[s::num_shards])
        assert all(TEACHER not in example.columns for example in shard._encoded["dev"])


def test_a_cut_model_learns_from_it_what_an_uncut_one_learns(teacher: str) -> None:
    task = task_of(teacher)
    processor = task.load_processor(teacher)
    rows = task.taught(ROWS, task.encode(ROWS, processor, LABELS, 64), LABELS, 64)
    padding = {**task.padding(processor), TEACHER: 0.0}
    pieces = [merge([pack(rows[at : at + 2], [0, 1])], padding) for at in (0, 2)]
    learnt = []
    for cut in ([], [2], [1, 3]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(teacher).train()
        units = find_units(model, task.probe(processor))
        run = OneProcess(model, cut=cut, train=TrainConfig(learning_rate=1e-3), head=task, units=units)
        learnt.append(([run.step(n, pieces, num_targets=4) for n in range(3)], run.weights()))
    for losses, weights in learnt[1:]:
        assert losses == learnt[0][0]
        assert all(torch.equal(weights[name], value) for name, value in learnt[0][1].items())


def test_a_teacher_of_other_labels_is_told(teacher: str) -> None:
    task = task_of(teacher)
    examples = task.encode(ROWS, task.load_processor(teacher), LABELS, 64)
    with pytest.raises(UserError, match=r"was trained for other labels.*only one of them has: maybe, perhaps"):
        task.taught(ROWS, examples, ["no", "perhaps", "yes"], 64)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.distils])
def test_other_tasks_refuse_it(name: str) -> None:
    with pytest.raises(UserError, match=rf"each word of it, one label, and {name} is none of them"):
        preflight(from_overrides([f"train.task={name}", "train.distil.teacher=x"]))


def test_a_teacher_that_is_not_there_is_told_before_anything_starts(teacher: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "Ann", "label": "no"}')
    overrides = [
        "train.task=sequence-classification", f"data.path={tmp_path}", f"model={teacher}",
        f"train.distil.teacher={tmp_path}/gone", f"run.output={tmp_path}/run",
    ]  # fmt: skip
    with pytest.raises(UserError, match="There is no model at"):
        preflight(from_overrides(overrides))


@pytest.mark.parametrize("wrong", ["weight=0", "weight=1.5", "temperature=0", "temperature=.nan"])
def test_values_that_there_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=r"train\.distil\."):
        from_overrides(["train.distil.teacher=x", f"train.distil.{wrong}"])


def test_a_run_with_another_teacher_is_another_run() -> None:
    assert "distil" not in lasting(from_overrides([]))["train"]
    assert lasting(from_overrides(["train.distil.teacher=x"]))["train"]["distil"]["teacher"] == "x"
