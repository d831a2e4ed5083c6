"""The contrastive loss on real actors: the same however a run is spread, since a micro-batch is never divided."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cluster.data_parallel import DataParallel
from cluster.driver import Driver, StopRequest
from pipelines.config import Config
from pipelines.report.observer import StepNumbers
from tests.cluster.test_data_parallel import run
from tests.cluster.watcher import Watcher
from tests.tiny import FORMS, PEOPLE, PLACES, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


class Listener(Watcher):
    """Scores of texts with labels have other figures."""

    def scored(self, split: str, *, epoch: int, step: int, report: Any) -> None:
        self.reports[split].append((epoch, step, report))


def write_texts(folder: Path) -> Path:
    """Sentences that are about people, or not."""
    folder.mkdir()
    chance = random.Random(0)
    for split, count in {"train": 40, "dev": 8, "test": 8}.items():
        rows = []
        for _ in range(count):
            form = chance.choice(FORMS)
            text = form.format(p=chance.choice(PEOPLE), q="Eve", l=chance.choice(PLACES), m="Bern")
            rows.append({"text": text, "label": "person" if "{p}" in form else "place"})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def config(model: Path, data: Path, plan: dict[str, Any]) -> Config:
    train = {"task": "sequence-classification", "batch_size": 8, "micro_batches": 2, "epochs": 1, "learning_rate": 3e-3}
    return Config.model_validate(
        {
            "model": {"source": str(model), "dtype": "float64"},
            "data": {"path": str(data), "shards": 2},
            "train": train | {"contrastive": {"weight": 0.3}},
            "plan": {"cpus_per_stage": 0.5, "timeout": 100} | plan,
        }
    )


def test_two_stages_and_two_workers_learn_what_one_stage_learns(tmp_path: Path) -> None:
    model, data = write_model(tmp_path / "source"), write_texts(tmp_path / "data")

    def steps(kind: type[Driver] | type[DataParallel], **plan: Any) -> list[StepNumbers]:
        folder = tmp_path / "-".join(map(str, plan.values()))
        return run(kind, config(model, data, plan), folder, Listener(), StopRequest()).steps

    one = [numbers.loss for numbers in steps(Driver, stages=1)]
    assert len(one) == 5
    assert [numbers.loss for numbers in steps(Driver, stages=2)] == one
    workers = steps(DataParallel, strategy="data", workers=2)
    assert [numbers.loss for numbers in workers] == pytest.approx(one, rel=1e-10)
