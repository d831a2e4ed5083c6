"""What holds of every task; a new one needs a sample of its own and no test of these."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.check.compare import BOUNDS, difference
from pipelines.config import TrainConfig
from pipelines.data.pack import merge, pack
from pipelines.model.units import find_units
from pipelines.tasks import TASKS, make_task
from pipelines.tasks.head import of_dtype
from tests.unit.pipelines.one_process import OneProcess
from tests.unit.pipelines.tasks.samples import SAMPLES, model_of


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SAMPLES[request.param].write(tmp_path_factory.mktemp("model") / "model")


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "folder"), [(name, name) for name in names], indirect=["folder"])


every_task = each(TASKS)


@every_task
def test_its_loss_in_two_stages_and_any_pieces_is_that_of_transformers_at_once(name: str, folder: Path) -> None:
    task, sample = make_task(name), SAMPLES[name]
    processor = task.load_processor(str(folder))
    rows = task.encode(sample.rows, processor, sample.labels, sample.length)
    padding = task.padding(processor)
    together = merge([pack(rows, range(len(rows)))], padding)
    plain = model_of(task, sample, folder)
    loss = sample.plain_loss(plain, of_dtype(task.inputs(together), torch.float64), together)
    loss.backward()
    true = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}

    model = model_of(task, sample, folder)
    units = find_units(model, of_dtype(task.probe(processor), torch.float64))
    run = OneProcess(model, cut=[len(units) // 2], train=TrainConfig(), dtype="float64", head=task, units=units)
    pieces = [merge([pack([row], [0])], padding) for row in rows] if sample.apart else [together]
    found = run.step(0, pieces, num_targets=sum(row.num_targets for row in rows), update=False)
    assert found == pytest.approx(loss.item(), rel=1e-10)
    gradients = {name: gradient for stage in run.stages for name, gradient in stage.named_gradients()}
    assert (same := difference("gradients", gradients, true, BOUNDS["float64"])).ok, same


@every_task
def test_its_answers_make_a_report(name: str, folder: Path, tmp_path: Path) -> None:
    task, sample = make_task(name), SAMPLES[name]
    processor = task.load_processor(str(folder))
    rows = task.encode(sample.rows, processor, sample.labels, sample.length)
    batch = merge([pack(rows, range(len(rows)))], task.padding(processor))
    model, inputs = model_of(task, sample, folder), of_dtype(task.inputs(batch), torch.float64)
    with torch.no_grad():
        answers = task.answers(model(**inputs), batch)
    gold = [task.gold(row, encoded) for row, encoded in zip(sample.rows, rows, strict=True)]
    kept, answers = task.settled(gold, answers)
    assert list(kept) == list(range(len(sample.rows)))
    report = task.report(gold, answers, sample.labels)
    assert report.score_name
    assert -1 <= report.score <= 1
    assert all(figure.startswith("dev/") for figure in report.metrics("dev"))
    assert report.table()
    assert report.to_json()
    report.draw(tmp_path)
    rows = list(zip(gold, answers, strict=True))
    tallies = np.array([task.tally(*row, sample.labels) for row in rows])
    assert task.score_of(tallies.sum(0)) == pytest.approx(report.score, abs=1e-6)
    assert all(0 <= p <= 1 for row in rows for p, _ in task.confidences(*row, sample.labels))
    assert all(task.wrongness(*row, sample.labels) >= 0 for row in rows)
    assert all(all(task.told(*row, sample.labels)) for row in rows)
    assert all(isinstance(task.kind.shown(row), str) for row in sample.rows)


@each(name for name in TASKS if SAMPLES[name].cut)
def test_what_is_too_long_goes_on_in_further_pieces_or_is_cut_and_counted(name: str, folder: Path) -> None:
    task, sample = make_task(name), SAMPLES[name]
    processor = task.load_processor(str(folder))
    whole = task.encode(sample.rows, processor, sample.labels, sample.length)
    most = max(len(row.columns["input_ids"]) for row in whole) // 2
    cut = task.encode(sample.rows, processor, sample.labels, most)
    # A row of two texts costs what both cost together, and each of them may be as long as that.
    assert max(len(column) for row in cut for column in row.columns.values()) == most
    assert sum(row.num_cut for row in cut) > 0 or len(cut) > len(whole)
    assert sum(not row.continues for row in cut) == len(whole) == len(sample.rows)
    assert sum(row.num_cut for row in whole) == 0


def test_every_task_has_a_sample() -> None:
    assert list(SAMPLES) == list(TASKS)
