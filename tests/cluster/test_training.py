"""The whole engine on real actors: equal results however it is spread, and clear ends when it cannot go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from safetensors.torch import load_file

from cluster.driver import Driver, Stopped, StopRequest
from cluster.waiting import ActorLost
from pipelines.config import Config
from pipelines.device_settings import DeviceConfig
from pipelines.errors import UserError
from pipelines.recovery_settings import RecoveryConfig
from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.chip import this_multiplies_bfloat16
from pipelines.train.meter import Meter
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def config(given: dict[str, str], *, resume: Path | None = None, **sections: dict[str, Any]) -> Config:
    train = {"batch_size": 8, "epochs": 4, "max_steps": 20, "learning_rate": 3e-3} | sections.get("train", {})
    plan = {"stages": 2, "cpus_per_stage": 0.25, "timeout": 60} | sections.get("plan", {})
    return Config.model_validate(
        {
            "model": {"source": given["model"]} | sections.get("model", {}),
            "data": {"path": given["data"], "shards": 1} | sections.get("data", {}),
            "train": train,
            "plan": plan,
            "checkpoint": {"resume": "never" if resume is None else str(resume)} | sections.get("checkpoint", {}),
        }
    )


def run(
    settings: Config,
    folder: Path,
    watcher: Watcher | None = None,
    stop: StopRequest | None = None,
    kind: type[Driver] = Driver,
) -> Watcher:
    watcher = watcher or Watcher()
    driver = kind(settings, folder, watcher, may_grow=False, stop=stop or StopRequest())
    try:
        driver.run()
        driver.save_model(folder / "model")
    finally:
        driver.close()
    return watcher


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_bitwise_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture(scope="module")
def uncut(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[Path, Watcher]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("uncut")
    return folder, run(config(given, plan={"stages": 1}), folder)


@pytest.mark.parametrize(
    "spread",
    [
        {"plan": {"stages": 2}, "data": {"shards": 2}},
        {"plan": {"stages": 4, "schedule": "gpipe", "cut": (1, 4, 6)}, "data": {"shards": 3}},
    ],
    ids=["2 stages and shards", "4 stages behind embeddings, gpipe, 3 shards"],
)
def test_after_20_steps_with_dropout_the_weights_are_bitwise_those_of_one_stage(
    given: dict[str, str], uncut: tuple[Path, Watcher], tmp_path: Path, spread: dict[str, Any]
) -> None:
    watcher = run(config(given, **spread), tmp_path)
    assert [numbers.loss for numbers in watcher.steps] == [numbers.loss for numbers in uncut[1].steps]
    assert watcher.steps[-1].step == 20
    assert_bitwise_equal(tmp_path, uncut[0])


def test_the_data_is_learnt_and_the_driver_is_told(uncut: tuple[Path, Watcher]) -> None:
    watcher = uncut[1]
    assert watcher.beginning is not None
    assert watcher.beginning.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert watcher.beginning.data["train"]["rows"] == 48
    assert watcher.steps[-1].loss < watcher.steps[0].loss / 2
    assert [(epoch, step) for epoch, step, _ in watcher.reports["dev"]] == [(1, 6), (2, 12), (3, 18), (4, 20)]
    assert watcher.reports["test"][0][2].micro.support > 0
    assert all(0 < numbers.ideal_seconds <= numbers.seconds for numbers in watcher.steps)


def test_a_checkpoint_of_three_stages_goes_on_with_two_as_if_nothing_had_happened(
    given: dict[str, str], uncut: tuple[Path, Watcher], tmp_path: Path
) -> None:
    stop = StopRequest()
    stopping = Watcher(after={7: lambda: setattr(stop, "signal", 15)})
    with pytest.raises(Stopped) as stopped:
        run(config(given, plan={"stages": 3}), tmp_path / "first", stopping, stop)
    at = open_checkpoint(stopped.value.checkpoint).step
    assert 7 <= at < 20
    watcher = run(config(given, resume=tmp_path / "first", plan={"stages": 2}), tmp_path / "then")
    assert watcher.steps[0].step == at + 1
    assert_bitwise_equal(tmp_path / "then", uncut[0])


def test_without_tries_a_stage_that_dies_ends_the_run_with_its_name_and_leaves_no_actor(
    given: dict[str, str], tmp_path: Path
) -> None:
    settings = config(given).model_copy(update={"recovery": RecoveryConfig(tries=0)})
    driver = Driver(settings, tmp_path, watcher := Watcher(), may_grow=False, stop=StopRequest())
    assert driver._fleet is not None
    victim = driver._fleet._crew._stages[1]
    watcher.after = {3: lambda: ray.kill(victim)}
    try:
        with pytest.raises(ActorLost, match=r"stage 1 died while it was to run step [45]"):
            driver.run()
    finally:
        driver.close()
    assert ray.util.placement_group_table() == {} or all(
        group["state"] == "REMOVED" for group in ray.util.placement_group_table().values()
    )


def test_what_is_said_of_a_type_of_device_is_done_by_its_stages_and_told_with_what_they_drew(
    given: dict[str, str], tmp_path: Path
) -> None:
    lion = {"optimizer": "lion", "learning_rate": 1e-4}
    short: dict[str, Any] = {"max_steps": 3, "warmup": 0.0}
    run(config(given, train=short | lion, plan={"stages": 1}), tmp_path / "all")
    choice = {"optimizer": "lion", "rate_factor": 0.1, "threads": 1}
    settings = config(given, train=short | {"learning_rate": 1e-3}).model_copy(
        update={"devices": {"cpu": DeviceConfig.model_validate(choice)}}
    )
    watcher = run(settings, tmp_path / "by type")
    assert_bitwise_equal(tmp_path / "all", tmp_path / "by type")
    assert watcher.beginning is not None
    stages = watcher.beginning.plan["stages"]
    assert [(stage["local"]["optimizer"], stage["local"]["threads"], stage["assigned"]) for stage in stages] == [
        ("lion", 1, "CPU, 1 thread"),
        ("lion", 1, "CPU, 1 thread"),
    ]
    assert len({stage["node"] for stage in stages}) == 1
    drawn = [report.drawn for step in watcher.steps for report in step.reports]
    # Whether the counters can be read is up to this machine.
    assert all(each is not None and each.gpu is None for each in drawn)
    readable = Meter().read().processors is not None
    assert all((each.processors is not None) == readable for each in drawn if each is not None)


@pytest.mark.skipif(this_multiplies_bfloat16() is False, reason="this CPU has no instructions for bfloat16")
def test_bfloat16_accumulation_and_a_weighted_loss_are_bitwise_equal_for_one_and_two_stages_and_shards(
    given: dict[str, str], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "precision": "bfloat16", "accumulate": 2, "max_steps": 5, "class_weights": "balanced", "label_smoothing": 0.1,
    }  # fmt: skip
    watchers = [
        run(config(given, train=changes, plan={"stages": n}, data={"shards": n}), tmp_path / str(n)) for n in (1, 2)
    ]
    assert_bitwise_equal(tmp_path / "1", tmp_path / "2")
    one, two = ([numbers.loss for numbers in watcher.steps] for watcher in watchers)
    assert one == two
    beginning = watchers[1].beginning
    assert beginning is not None
    by_label = beginning.data["train"]["class_weights"]
    assert list(by_label) == beginning.labels
    assert by_label["O"] < 1 < by_label["I-PER"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            {"stages": 3, "cpus_per_stage": 100},
            r"The plan asks for 300 CPUs \(3 stages\), but the cluster has \d+ CPUs .* Lower plan.stages",
        ),
        ({"devices": "gpu"}, r"The plan asks for 0.5 CPUs and 2 GPUs \(2 stages\), but the cluster has .* 1 GPUs"),
        (
            {"stages": 9, "cpus_per_stage": 0.1},
            r"plan.stages is 9, but the model has only 8 units \(embeddings, .* at most 8 stages",
        ),
        ({"cut": (4, 2)}, r"plan.cut=\[4, 2\] does not make 2 chunks of 8 units"),
    ],
)
def test_a_plan_that_cannot_be_placed_is_refused_with_what_there_is(
    given: dict[str, str], tmp_path: Path, plan: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(config(given, plan=plan), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stages_that_share_their_weights_learn_what_one_stage_learns(given: dict[str, str], tmp_path: Path) -> None:
    from transformers import AlbertConfig, AlbertModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    tokenizer.save_pretrained(tmp_path / "albert")
    # All layers share one set of weights: every stage holds it, and the first one updates it.
    sizes = {"embedding_size": 16, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    albert = AlbertConfig(vocab_size=len(tokenizer), num_hidden_layers=3, max_position_embeddings=64, **sizes)
    AlbertModel(albert).save_pretrained(tmp_path / "albert")
    model = {"source": str(tmp_path / "albert"), "dtype": "float64"}
    for stages in (1, 3):
        run(config(given, model=model, plan={"stages": stages}), tmp_path / str(stages))
    one, three = weights(tmp_path / "1"), weights(tmp_path / "3")
    assert one.keys() == three.keys()
    for name, value in one.items():
        assert ((three[name] - value).abs().max() / value.abs().max().clamp(min=1e-3)).item() <= 1e-10, name


def test_a_model_that_cannot_be_cut_is_refused_with_two_stages_and_trains_with_one(
    given: dict[str, str], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, IBertConfig, IBertModel

    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    tokenizer.save_pretrained(tmp_path / "ibert")
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    ibert = IBertConfig(vocab_size=len(tokenizer), max_position_embeddings=66, **sizes)
    IBertModel(ibert).save_pretrained(tmp_path / "ibert")
    model: dict[str, Any] = {"source": str(tmp_path / "ibert")}
    with pytest.raises(UserError, match=r"IBertForTokenClassification cannot be cut before unit .* plan.stages=1"):
        run(config(given, model=model), tmp_path / "cut")
    watcher = run(config(given, model=model, plan={"stages": 1}), tmp_path / "uncut")
    assert watcher.steps[-1].loss < watcher.steps[0].loss


def test_a_checkpoint_of_another_run_is_refused(
    given: dict[str, str], uncut: tuple[Path, Watcher], tmp_path: Path
) -> None:
    first = uncut[0]
    with pytest.raises(UserError, match=r"comes from another run: its train is"):
        run(config(given, resume=first, train={"batch_size": 4}), tmp_path / "second")
    with pytest.raises(UserError, match=r"has done 20 steps, and this run ends after 20: there is nothing to do"):
        run(config(given, resume=first, plan={"stages": 1}), tmp_path / "third")
