"""Where a run goes, and what it goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.plan.left_open import decided
from pipelines.run_folder import RunFolder
from pipelines.take_up import Place, take_place
from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.resume import check_unfinished, difference


def config(**sections: Any) -> Config:
    return Config.model_validate({"run": {"name": "tiny"}, **sections})


def begun(folder: Path, settings: Config, *steps: int, finished: bool = False) -> Path:
    """What a run leaves in its folder."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(decided(settings).to_yaml())
    for step in steps:
        save_checkpoint(folder, step=step, facts={}, parts=[({"a": torch.ones(1)}, {})])
    if finished:
        (folder / "summary.json").write_text("{}")
    return folder


def taken(settings: Config) -> Place:
    place = take_place(settings)
    place.folder.release()
    return place


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- run.output


def test_a_new_folder_begins_a_run(here: Path) -> None:
    place = taken(config(run={"name": "tiny", "output": "out"}))
    assert (place.path, place.resume, place.notes) == (here / "out", "never", ())
    assert not (here / "out").exists()


def test_the_same_command_goes_on_with_the_unfinished_run_in_its_folder(here: Path) -> None:
    settings = config(run={"name": "tiny", "output": "out"}, train={"micro_batches": "auto"})
    begun(here / "out", settings, 3, 5)
    place = taken(settings)
    assert (place.path, place.resume) == (here / "out", str(here / "out"))
    (note,) = place.notes
    assert f"Going on with the unfinished run {here}/out" in note
    assert "step-00000005" in note
    assert "checkpoint.resume=never" in note
    assert place.settle(settings).checkpoint.resume == str(here / "out")


def test_a_run_that_died_before_its_first_checkpoint_begins_anew_in_its_folder(here: Path) -> None:
    settings = config(run={"name": "tiny", "output": "out"})
    begun(here / "out", settings)
    place = taken(settings)
    assert (place.path, place.resume) == (here / "out", "never")
    assert "ended before its first checkpoint; it begins anew there" in place.notes[0]


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"epochs": 9, "max_steps": 7}},
        {"plan": {"stages": 3}, "data": {"shards": 5, "memory": "64MB", "scratch": "/tmp"}},
        {"track": {"uri": "http://elsewhere"}, "checkpoint": {"keep": 9}, "serve": {"port": 1}},
    ],
    ids=["length", "plan", "tracking, checkpoints, serving"],
)
def test_plan_and_length_may_change(here: Path, change: dict[str, Any]) -> None:
    begun(here / "out", config(), 3)
    assert taken(config(run={"name": "tiny", "output": "out"}, **change)).resume == str(here / "out")


def test_threads_may_change_and_what_else_is_said_of_a_device_not() -> None:
    lion, more = ({"devices": {"cpu": {"optimizer": "lion"} | part}} for part in ({}, {"threads": 2}))
    assert difference(config(**lion), config(**more)) is None
    assert "devices" in str(difference(config(**lion), config()))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train": {"learning_rate": 0.5}}, "train.learning_rate is 2e-05 there, and 0.5 here"),
        ({"run": {"seed": 3}}, "seed is 0 there, and 3 here"),
        ({"model": "other"}, "model.source is 'bert-base-cased' there, and 'other' here"),
        ({"data": {"train": "x"}}, "data.train is None there, and 'x' here"),
        ({"adapter": "lora"}, "adapter"),
        ({"train": {"micro_batches": 8}}, "train.micro_batches is 4 there, and 8 here"),
    ],
)
def test_a_run_of_another_config_is_not_gone_on_with_and_the_difference_is_named(
    here: Path, change: dict[str, Any], named: str
) -> None:
    begun(here / "out", config(), 3)
    settings = Config.model_validate(change)
    run = settings.run.model_copy(update={"name": "tiny", "output": "out"})
    with pytest.raises(UserError, match="holds an unfinished run of another config") as refused:
        take_place(settings.model_copy(update={"run": run}))
    assert named in str(refused.value)
    assert f"checkpoint.resume={here}/out" in str(refused.value)


def test_a_finished_run_is_never_taken_up(here: Path) -> None:
    settings = config(run={"name": "tiny", "output": "out"})
    begun(here / "out", settings, 3, finished=True)
    with pytest.raises(UserError, match=r"exists and is not empty: it holds a finished run. Choose another run.output"):
        take_place(settings)
    begun(here / "runs" / "tiny-1", config(), 3, finished=True)
    assert taken(config()).resume == "never"


def test_a_run_that_is_still_going_on_is_refused_with_its_process(here: Path) -> None:
    settings = config(run={"name": "tiny", "output": "out"})
    held = RunFolder(begun(here / "out", settings, 3))
    with pytest.raises(UserError, match=f"A run is still going on in {here}/out .process {os.getpid()} on "):
        take_place(settings)
    held.release()
    assert taken(settings).resume == str(here / "out")


def test_a_folder_with_something_else_in_it_is_refused_and_left_as_it_is(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").touch()
    for resume in ("auto", "never"):
        with pytest.raises(UserError, match=r"exists and is not empty. Choose another run.output\.$"):
            take_place(config(run={"name": "tiny", "output": "out"}, checkpoint={"resume": resume}))
    assert [path.name for path in (here / "out").iterdir()] == ["thesis.txt"]


def test_never_does_not_go_on(here: Path) -> None:
    begun(here / "out", config(), 3)
    never = {"checkpoint": {"resume": "never"}}
    with pytest.raises(UserError, match=r"it holds an unfinished run, and checkpoint.resume=never"):
        take_place(config(run={"name": "tiny", "output": "out"}, **never))
    begun(here / "runs" / "tiny-1", config(), 3)
    place = taken(config(**never))
    assert place.resume == "never"
    assert place.path != here / "runs" / "tiny-1"


def test_a_run_that_went_on_from_elsewhere_goes_on_with_its_own_checkpoints(here: Path) -> None:
    begun(here / "first", config(), 3)
    settings = config(run={"name": "tiny", "output": "out"}, checkpoint={"resume": "first"})
    assert taken(settings).resume == "first"
    begun(here / "out", settings)
    assert taken(settings).resume == "first"
    save_checkpoint(here / "out", step=4, facts={}, parts=[])
    assert taken(settings).resume == str(here / "out")


def test_a_checkpoint_inside_the_folder_may_be_named(here: Path) -> None:
    begun(here / "out", config(), 3, 5, finished=True)
    inside = str(here / "out" / "checkpoints" / "step-00000003")
    assert taken(config(run={"name": "tiny", "output": "out"}, checkpoint={"resume": inside})).resume == inside


# ---- without run.output


def test_without_an_output_the_newest_unfinished_run_of_the_same_config_is_gone_on_with(here: Path) -> None:
    runs = here / "runs"
    for age, (name, settings, finished) in enumerate(
        [
            ("tiny-c", config(), True),
            ("tiny-a", config(train={"learning_rate": 1.0}), False),
            ("tiny-b", config(), False),
            ("tiny-d", config(), False),
        ]
    ):
        begun(runs / name, settings, 3, finished=finished)
        os.utime(runs / name / "config.yaml", (1e9 - age, 1e9 - age))
    assert taken(config()).path == runs / "tiny-b"
    held = RunFolder(runs / "tiny-b")
    place = taken(config())
    assert place.path == runs / "tiny-d"
    other = RunFolder(runs / "tiny-d")
    place = taken(config())
    assert place.resume == "never"
    assert place.path.name.startswith("tiny-2")
    assert [note.partition(" in ")[0] for note in place.notes] == ["A run of the same config is still going on"] * 2
    held.release()
    other.release()


def test_two_runs_that_begin_in_the_same_second_get_two_folders(here: Path) -> None:
    places = [take_place(config()) for _ in range(3)]
    assert len({place.path for place in places}) == 3
    for place in reversed(places):
        place.folder.release()
    assert not (here / "runs").exists()


# ---- what is gone on from


def test_what_is_no_checkpoint_is_refused_before_anything_is_held(here: Path) -> None:
    with pytest.raises(UserError, match="There is no checkpoint at nowhere"):
        take_place(config(run={"name": "tiny", "output": "out"}, checkpoint={"resume": "nowhere"}))
    assert list(here.iterdir()) == []


def test_an_address_is_fetched_into_the_run_s_folder(here: Path) -> None:
    place = save_checkpoint(here / "first", step=3, facts={}, parts=[({"a": torch.ones(1)}, {})])
    files = fsspec.filesystem("memory")
    for path in place.iterdir():
        files.pipe_file(f"/there/checkpoints/step-00000003/{path.name}", path.read_bytes())
    settings = config(run={"name": "tiny", "output": "out"}, checkpoint={"resume": "memory://there"})
    fetched = take_place(settings).fetched()
    assert fetched.resume == str(here / "out" / "checkpoints" / "step-00000003")
    assert open_checkpoint(fetched.resume).step == 3
    fetched.folder.release()
    files.rm("/there", recursive=True)


def test_a_run_that_was_killed_after_its_last_step_is_finished_in_its_folder_alone(here: Path) -> None:
    start = open_checkpoint(begun(here / "out", config(), 3))
    check_unfinished(start, 3, here / "out")
    for steps, folder in ((3, here / "other"), (2, here / "out"), (3, None)):
        with pytest.raises(UserError, match=r"there is nothing to do. Raise train.epochs or train.max_steps"):
            check_unfinished(start, steps, folder)
    (here / "out" / "summary.json").touch()
    with pytest.raises(UserError, match="there is nothing to do"):
        check_unfinished(start, 3, here / "out")
