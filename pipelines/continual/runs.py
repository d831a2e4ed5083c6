"""The runs of a sequence of data sets, as configs of the main job.

set 1 ──▶ run 1 ──model──▶ run 2 ──model──▶ run 3
                           ▲ set 2          ▲ set 3
                           └ of set 1       └ of sets 1 and 2      rows (replay), or what mattered (ewc)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.config import Config
from pipelines.continual_settings import ContinualConfig, EwcConfig, ReplayConfig
from pipelines.distil_settings import DistilConfig
from pipelines.errors import UserError

OF_METHOD = {"kept": "replay", "strength": "ewc", "sample": "ewc", "weight": "lwf", "temperature": "lwf"}
"""Settings that only one method has."""
SAMPLE = 200
"""`continual.sample` where it is left out."""


def check_continual(config: Config) -> ContinualConfig:
    """The section `continual`, when all that the config says goes together with it.

    Raises:
        UserError: there is no such section, or a setting that contradicts it or would do nothing.
    """
    wanted = config.continual
    if wanted is None:
        raise UserError(
            "There is nothing to learn in turn: set continual.sets to two or more folders, such as "
            "continual.sets='[first, second]'."
        )
    for name in ("path", "train", "dev", "test", "replay", "labels"):
        if getattr(config.data, name):
            raise UserError(f"data.{name} has no effect beside continual.sets, which name the data. Leave it out.")
    for name, method in OF_METHOD.items():
        if (value := getattr(wanted, name)) is not None and wanted.method != method:
            raise UserError(
                f"continual.{name}={value:g} has no effect with continual.method={wanted.method}. Leave it out, or use "
                f"continual.method={method}."
            )
    if wanted.method == "ewc" and wanted.strength is None:
        raise UserError(
            "continual.method=ewc wants to know how strongly weights are held back: set continual.strength, for "
            "example to 1000. What is right depends on model and data; docs/continual.md says how to find it."
        )
    if wanted.method == "lwf":
        _check_taught(config)
    if config.train.ewc is not None:
        raise UserError(
            "train.ewc has no effect beside continual.sets. Leave it out; continual.method=ewc and continual.strength "
            "say what it says, for every set."
        )
    if config.adapter is not None:
        raise UserError(
            "An adapter does not go together with continual.sets: each run goes on from the whole model of the one "
            "before. Leave adapter out."
        )
    if config.checkpoint.resume not in ("auto", "never"):
        raise UserError(
            f"checkpoint.resume={config.checkpoint.resume} is one run's, and continual.sets makes several. Leave it "
            "out: a sequence goes on in its own folder (--output)."
        )
    if config.run.output is not None:
        raise UserError("run.output is one run's, and continual.sets makes several. Use --output for all of them.")
    return wanted


def _check_taught(config: Config) -> None:
    """Refuse what the model of one run cannot teach that of the next.

    Raises:
        UserError: says why.
    """
    # Imported here: tasks bring torch, and only this method asks one.
    from pipelines.tasks import make_task

    task = config.train.task
    if not make_task(task).distils:
        raise UserError(
            "With continual.method=lwf each model is taught by the one before which labels it would give, for tasks "
            f"that give a row, or each word of it, one label. {task} is none of them: use another method."
        )
    if config.train.distil is not None:
        raise UserError(
            "train.distil names one teacher, and with continual.method=lwf every run has the model of the one before. "
            "Leave it out; continual.weight and continual.temperature say what it says."
        )
    if config.data.memory is not None:
        raise UserError(
            "data.memory bounds what a data shard holds, and with continual.method=lwf it would hold a teacher as "
            "well. Remove one of them."
        )


def run_of(config: Config, k: int, *, folder: Path, labels: Sequence[str]) -> Config:
    """What the main job is to do for set `k`, counted from 0.

    Args:
        config: of the sequence.
        folder: of the sequence; each run has a folder in it.
        labels: of all sets, which the model has from the first run on.
    """
    wanted = check_continual(config)
    data: dict[str, object] = {"path": wanted.sets[k], "labels": tuple(labels)}
    changed: dict[str, object] = {
        "run": config.run.model_copy(update={"output": str(run_folder(folder, k))}),
        "continual": None,
    }
    if k > 0:
        changed["model"] = config.model.model_copy(update={"source": str(model_folder(folder, k - 1))})
        if wanted.method == "replay":
            kept = {} if wanted.kept is None else {"kept": wanted.kept}
            data["replay"] = ReplayConfig(sets=wanted.sets[:k], seed=config.run.seed, **kept)
        if wanted.method == "ewc":
            assert wanted.strength is not None
            ewc = EwcConfig(importance=str(importance_file(folder, k - 1)), strength=wanted.strength)
            changed["train"] = config.train.model_copy(update={"ewc": ewc})
        if wanted.method == "lwf":
            given = {name: getattr(wanted, name) for name in ("weight", "temperature")}
            given = {name: value for name, value in given.items() if value is not None}
            distil = DistilConfig(teacher=str(model_folder(folder, k - 1)), **given)
            changed["train"] = config.train.model_copy(update={"distil": distil})
    return config.model_copy(update={**changed, "data": config.data.model_copy(update=data)})


def sample_of(config: Config) -> int:
    """Examples of a set by which it is found out what mattered."""
    return check_continual(config).sample or SAMPLE


def run_folder(folder: Path, k: int) -> Path:
    """Where the run of set `k` goes."""
    return folder / f"set-{k + 1}"


def model_folder(folder: Path, k: int) -> Path:
    """The model after set `k`."""
    return run_folder(folder, k) / "model"


def importance_file(folder: Path, k: int) -> Path:
    """How much each weight mattered for the sets up to `k`."""
    return run_folder(folder, k) / "importance.safetensors"


def names_of(sets: Sequence[str]) -> list[str]:
    """What the sets are called in a table: the last part of each, with its number where that is not enough."""
    last = [Path(one).name or one for one in sets]
    return [f"{name} ({k})" if last.count(name) > 1 else name for k, name in enumerate(last, 1)]
