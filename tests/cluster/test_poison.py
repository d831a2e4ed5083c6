"""Steps whose numbers are not finite, on real actors: one row of the data overflows in the embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cluster.data_parallel import DataParallel
from cluster.driver import StopRequest
from pipelines.config import Config
from pipelines.plan_settings import PlanConfig
from tests.cluster.test_training import assert_bitwise_equal, config, run, weights
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]

STEPS, BAD = 8, [5, 8]
"""Seven make an epoch, and each epoch has the row once."""
SERVED = {"replicas": 2, "servers": 2, "cpus_per_server": 0.2, "cpus_per_stage": 0.2}
FOUND = r"activations of unit 'embeddings' in micro-batch \d \(rows of train: .*\b48\b"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Row 48 has a letter that no other row has, and whose embedding is too large to be squared."""
    folder = tmp_path_factory.mktemp("given")
    model, data = write_model(folder / "model"), write_data(folder / "data")
    with (data / "train.conll").open("a", encoding="utf-8") as file:
        file.write("\nzzz\tO\nleft\tO\nRome\tB-LOC\nfor\tO\nCape\tB-LOC\nTown\tI-LOC\n.\tO\n")
    values = load_file(model / "model.safetensors")
    (table,) = (value for name, value in values.items() if name.endswith("word_embeddings.weight"))
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    table[vocabulary["##z"]] = 3e38
    save_file(values, model / "model.safetensors", metadata={"format": "pt"})
    return {"model": str(model), "data": str(data)}


def settings(given: dict[str, str], poisoned: str, **sections: Any) -> Config:
    return config(given, train={"max_steps": STEPS, "poisoned": poisoned}, **sections)


@pytest.fixture(scope="module")
def one_stage(
    given: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None  # noqa: ARG001
) -> tuple[Path, Watcher]:  # fmt: skip
    folder = tmp_path_factory.mktemp("one")
    return folder, run(settings(given, "skip", plan={"stages": 1}), folder)


def left_out(watcher: Watcher) -> list[int]:
    assert all((numbers.poison is not None) == numbers.skipped for numbers in watcher.steps)
    return [numbers.step for numbers in watcher.steps if numbers.skipped]


@pytest.mark.parametrize("plan", [{}, SERVED], ids=["2 stages", "2 replicas and servers"])
def test_a_run_that_may_not_skip_ends_with_the_unit_the_micro_batch_and_the_rows(
    given: dict[str, str], tmp_path: Path, plan: dict[str, Any]
) -> None:
    watcher = Watcher()
    with pytest.raises(FloatingPointError, match=rf"^Step 5 changed no weight: .*{FOUND}.* train.poisoned=skip\.$"):
        run(settings(given, "stop", plan=plan), tmp_path, watcher)
    assert [numbers.step for numbers in watcher.steps] == [1, 2, 3, 4]


def test_two_stages_leave_out_what_one_does_and_learn_the_same_bits(
    given: dict[str, str], one_stage: tuple[Path, Watcher], tmp_path: Path
) -> None:
    watcher = run(settings(given, "skip", data={"shards": 2}), tmp_path)
    assert left_out(watcher) == left_out(one_stage[1]) == BAD
    assert [numbers.poison for numbers in watcher.steps] == [numbers.poison for numbers in one_stage[1].steps]
    assert_bitwise_equal(tmp_path, one_stage[0])
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_two_replicas_with_servers_leave_out_the_same(
    given: dict[str, str], one_stage: tuple[Path, Watcher], tmp_path: Path
) -> None:
    watcher = run(settings(given, "skip", plan=SERVED), tmp_path)
    assert [numbers.poison for numbers in watcher.steps] == [numbers.poison for numbers in one_stage[1].steps]
    first, second = weights(tmp_path), weights(one_stage[0])
    usual = [name for name in second if not name.endswith("word_embeddings.weight")]
    assert max((first[name] - second[name]).abs().max().item() for name in usual) < 1e-4


def test_whoever_was_stopped_goes_on_with_skip_as_if_it_had_been_so_from_the_start(
    given: dict[str, str], one_stage: tuple[Path, Watcher], tmp_path: Path
) -> None:
    with pytest.raises(FloatingPointError, match=FOUND):
        run(settings(given, "stop", checkpoint={"every_steps": 1}), tmp_path / "first")
    watcher = run(settings(given, "skip", resume=tmp_path / "first", plan={"stages": 3}), tmp_path / "then")
    assert [numbers.step for numbers in watcher.steps] == [5, 6, 7, 8]
    assert left_out(watcher) == BAD
    assert_bitwise_equal(tmp_path / "then", one_stage[0])


def test_data_parallel_workers_agree_on_what_one_of_them_saw(
    given: dict[str, str], one_stage: tuple[Path, Watcher], tmp_path: Path
) -> None:
    watcher = Watcher()
    plan = PlanConfig.model_validate({"strategy": "data", "workers": 2, "cpus_per_stage": 0.5, "timeout": 100})
    made = settings(given, "skip").model_copy(update={"plan": plan})
    driver = DataParallel(made, tmp_path, watcher, may_grow=False, stop=StopRequest())
    try:
        driver.run()
    finally:
        driver.close()
    assert [numbers.poison for numbers in watcher.steps] == [numbers.poison for numbers in one_stage[1].steps]
