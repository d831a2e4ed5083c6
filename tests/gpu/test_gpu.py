"""Stages on a real GPU: what they learn is what CPUs learn, they learn it again, and the plan knows their speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.checking import check
from cluster.data_parallel import DataParallel
from cluster.devices import discover
from cluster.driver import Stopped, StopRequest
from cluster.profiling import profile
from pipelines.config import Config
from pipelines.device_settings import DeviceConfig
from pipelines.train.checkpoint import open_checkpoint
from tests.cluster import test_data_parallel
from tests.cluster.test_checking import models as models
from tests.cluster.test_training import assert_bitwise_equal, config, run, weights
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]
ONE = {"stages": 1, "devices": "gpu"}
BOTH = {"stages": "auto", "place": {"embeddings": "cpu", "*.layer.*": "gpu"}}
"""Embeddings on one side of a crossing, the blocks on the other."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTLEY_CACHE", str(tmp_path / "cache"))


def seats(watcher: Watcher) -> list[str]:
    assert watcher.beginning is not None
    return [stage["assigned"] for stage in watcher.beginning.plan["stages"]]


def steps(watcher: Watcher) -> list[float]:
    return [numbers.loss for numbers in watcher.steps]


def test_the_gpu_is_found_with_its_name_and_memory() -> None:
    (gpu,) = (device for device in discover(1, timeout=60) if device.kind == "gpu")
    total = torch.cuda.get_device_properties(0).total_memory
    assert not gpu.logical
    assert 0.5 * total < gpu.memory <= 1.05 * total
    assert torch.cuda.get_device_name(0).lower().split()[-1][:4] in gpu.type


@pytest.mark.parametrize(
    ("name", "place"),
    [("t5", {"encoder": "gpu", "decoder": "cpu"}), ("bert", {"attention": "gpu", "feed-forward": "cpu"})],
)
def test_parts_on_gpu_and_cpu_equal_the_plain_model(models: Path, name: str, place: dict[str, str]) -> None:
    task = "token-classification" if name == "bert" else None
    report = check(str(models / name), task=task, stages=2, dtype="float64", steps=2, place=place)
    assert report.first is None
    assert [stage.device for stage in report.stages] == [torch.cuda.get_device_name(0), "CPU, 1 thread"]


def test_in_float64_gpu_cpu_and_both_learn_the_same(given: dict[str, str], tmp_path: Path) -> None:
    plain = {"model": given["model"], "data": given["data"]}
    model = str(write_model(tmp_path / "no dropout", dropout=0.0))
    plans: dict[str, dict[str, Any]] = {"cpu": {"stages": 1}, "gpu": ONE, "both": BOTH}
    watchers = {
        name: run(config(plain, model={"source": model, "dtype": "float64"}, plan=plan), tmp_path / name)
        for name, plan in plans.items()
    }
    card = torch.cuda.get_device_name(0)
    assert seats(watchers["gpu"]) == [card]
    assert card in seats(watchers["both"])
    assert set(seats(watchers["both"])) > {card}
    expected = weights(tmp_path / "cpu")
    for name in ("gpu", "both"):
        assert steps(watchers[name]) == pytest.approx(steps(watchers["cpu"]), rel=1e-10)
        found = weights(tmp_path / name)
        # A softmax does not feel what is added to all its inputs: a key's bias has no gradient but rounding errors,
        # of which Adam makes steps as large as any.
        felt = [key for key in expected if not key.endswith("key.bias")]
        assert max((found[key] - expected[key]).abs().max().item() for key in felt) < 1e-10


@pytest.mark.parametrize("plan", [ONE, BOTH], ids=["gpu", "both"])
def test_with_dropout_a_run_is_repeated_bitwise_and_goes_on_bitwise_after_a_stop(
    given: dict[str, str], tmp_path: Path, plan: dict[str, Any]
) -> None:
    for name in ("once", "again"):
        run(config(given, plan=plan), tmp_path / name)
    assert_bitwise_equal(tmp_path / "once", tmp_path / "again")
    stop = StopRequest()
    with pytest.raises(Stopped) as stopped:
        run(config(given, plan=plan), tmp_path / "first", Watcher({7: lambda: setattr(stop, "signal", 15)}), stop)
    at = open_checkpoint(stopped.value.checkpoint).step
    watcher = run(config(given, resume=tmp_path / "first", plan=plan), tmp_path / "then")
    assert watcher.steps[0].step == at + 1
    assert_bitwise_equal(tmp_path / "once", tmp_path / "then")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_the_gpu_alone_trains(given: dict[str, str], tmp_path: Path, precision: str) -> None:
    settings = config(given, plan=ONE).model_copy(
        update={"devices": {"gpu": DeviceConfig.model_validate({"precision": precision})}}
    )
    watcher = run(settings, tmp_path)
    assert watcher.beginning is not None
    assert [stage["local"]["precision"] for stage in watcher.beginning.plan["stages"]] == [precision]
    assert watcher.steps[-1].loss < watcher.steps[0].loss / 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "adafactor", "lion"])
def test_every_optimizer_runs_on_the_gpu(given: dict[str, str], tmp_path: Path, optimizer: str) -> None:
    rates = {"sgd": 0.1, "lion": 3e-4, "adafactor": 3e-2}
    train = {"optimizer": optimizer, "learning_rate": rates.get(optimizer, 3e-3), "max_steps": 10}
    watcher = run(config(given, train=train, plan=ONE), tmp_path)
    assert watcher.steps[-1].loss < watcher.steps[0].loss


def test_what_the_gpu_draws_is_read_from_it(given: dict[str, str], tmp_path: Path) -> None:
    watcher = run(config(given, train={"max_steps": 3}, plan=ONE), tmp_path)
    drawn = [report.drawn for step in watcher.steps for report in step.reports]
    assert all(each is not None and each.gpu is not None and each.gpu >= 0 for each in drawn)
    assert sum(each.gpu for each in drawn if each is not None and each.gpu is not None) > 0


def test_unit_times_of_the_gpu_are_measured_and_a_plan_is_made_of_them(given: dict[str, str], tmp_path: Path) -> None:
    settings = Config.model_validate(
        {
            "model": {"source": given["model"]},
            "data": {"path": given["data"], "shards": 1},
            "train": {"batch_size": 48, "micro_batches": 2, "epochs": 3, "learning_rate": 3e-3},
            "plan": {"cpus_per_stage": 1, "timeout": 120},
        }
    )
    measured = profile(settings)
    (gpu,) = (kind for kind in measured.types if kind.kind == "gpu")
    assert min(*gpu.times[0].forward, *gpu.times[0].backward) >= 0 < sum(gpu.times[0].forward)
    watcher = run(settings, tmp_path)
    assert watcher.choice is not None
    assert all(numbers.predicted_seconds is not None for numbers in watcher.steps)


def test_plain_data_parallel_trains_on_the_gpu(given: dict[str, str], tmp_path: Path) -> None:
    settings = test_data_parallel.config(given, {"strategy": "data", "workers": 1, "devices": "gpu"})
    data = test_data_parallel.run(DataParallel, settings, tmp_path / "data", Watcher(), StopRequest())
    one = run(test_data_parallel.config(given, ONE), tmp_path / "one")
    assert seats(data) == [torch.cuda.get_device_name(0)]
    assert steps(data) == pytest.approx(steps(one), rel=1e-10)
