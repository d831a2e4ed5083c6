"""Texts that share rows, on real actors: two data shards fill the rows together, and two stages read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.driver import Driver, StopRequest
from pipelines.config import Config
from tests.cluster.watcher import Watcher
from tests.tiny_lm import write_lm

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("ray_session")]

TEXTS = [
    "no",
    "it rains",
    "Ann lives in Oslo with Bob and Eve",
    "x",
    "in Rome it rains",
    "Bern",
    "Lima, Rome",
    "a b c d",
]


class Keeper(Watcher):
    """Takes the reports of texts."""

    def scored(self, split: str, *, epoch: int, step: int, report: Any) -> None:
        self.reports[split].append((epoch, step, report))


def run(folder: Path, *, packing: bool) -> Keeper:
    settings = Config.model_validate(
        {
            "model": {"source": str(folder / "model"), "dtype": "float64"},
            "data": {"path": str(folder), "shards": 2, "max_length": 48, "packing": packing},
            "train": {
                "task": "causal-lm", "batch_size": 8, "epochs": 3, "micro_batches": 2, "learning_rate": 1e-2,
                "max_new_tokens": 0,
            },
            "plan": {"stages": 2, "cpus_per_stage": 0.25, "timeout": 60},
            "checkpoint": {"resume": "never"},
        }
    )  # fmt: skip
    watcher = Keeper()
    driver = Driver(settings, folder / f"run-{packing}", watcher, may_grow=False, stop=StopRequest())
    try:
        driver.run()
    finally:
        driver.close()
    return watcher


def test_a_run_that_packs_loses_and_scores_what_one_does_that_pads(tmp_path: Path) -> None:
    write_lm(tmp_path / "model", "llama")
    for split in ("train", "dev"):
        lines = [json.dumps({"text": text}) for text in TEXTS]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    padded, packed = (run(tmp_path, packing=packing) for packing in (False, True))
    assert [one.loss for one in packed.steps] == pytest.approx([one.loss for one in padded.steps], rel=1e-9)
    for (_, _, one), (_, _, other) in zip(packed.reports["dev"], padded.reports["dev"], strict=True):
        assert one.metrics("dev") == pytest.approx(other.metrics("dev"), rel=1e-9)
    assert packed.beginning is not None
    assert padded.beginning is not None
    waste, before = packed.beginning.data["train"], padded.beginning.data["train"]
    assert waste["padding_waste_unpacked"] == before["padding_waste"]
    assert waste["padding_waste"] < 0.05 < before["padding_waste"]
