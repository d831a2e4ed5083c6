"""A teacher on devices of its own says what it says in a data shard's process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ray
import torch
from torch import Tensor

from cluster.data_crew import DataCrew
from pipelines.config import DataConfig
from pipelines.data.batches import MicroBatch
from pipelines.data.pack import merge
from pipelines.distil_settings import DistilConfig
from pipelines.plan_settings import PlanConfig
from pipelines.tasks import make_task
from pipelines.tasks.settings import TaskSettings
from pipelines.tasks.teacher import TEACHER
from tests.cluster.loads import stages, until
from tests.tiny import write_model
from tests.unit.pipelines.tasks.test_teacher import write_teacher

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_session")]

LABELS = ["maybe", "no", "yes"]
TEXTS = ["Ann left", "it rains in Oslo", "Rome", "Bob Lee met Carl", "it rains"]


@pytest.mark.parametrize("number", [1, 2])
def test_its_answers_are_the_same_and_its_devices_are_free_afterwards(tmp_path: Path, number: int) -> None:
    teacher = write_teacher(tmp_path / "teacher", ["yes", "maybe", "no"])
    model = write_model(tmp_path / "model")
    rows = [{"text": text, "label": LABELS[n % 3]} for n, text in enumerate(TEXTS)]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    own, elsewhere = (
        said(tmp_path / "train.jsonl", model, DistilConfig(teacher=teacher, plan=plan))
        for plan in (None, PlanConfig(stages=number, cpus_per_stage=0.25))
    )
    assert own.shape == (len(TEXTS), len(LABELS))
    assert torch.allclose(own, elsewhere, atol=1e-6)
    until(lambda: not stages())


def said(train: Path, model: Path, distil: DistilConfig) -> Tensor:
    """What the teacher says of every row [rows, labels], as two data shards hold it."""
    task = make_task("sequence-classification", settings=TaskSettings(distil=distil))
    crew = DataCrew(DataConfig(train=str(train), shards=2), task, timeout=120)
    try:
        crew.load()
        lengths = crew.encode(str(model), LABELS, 64)["train"].lengths
        everything = MicroBatch(tuple(range(len(lengths))), max(lengths))
        parts = [part for (part,) in ray.get(list(crew.hand_out("train", [everything])))]
        padding = {**task.padding(task.load_processor(str(model))), TEACHER: 0.0}
        return merge(parts, padding)[TEACHER]
    finally:
        crew.close()
