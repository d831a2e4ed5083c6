"""Data sets that are learnt one after the other: each is a run of its own, and after each all so far are scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.driver import Stopped
from cluster.evaluating import evaluate_model
from cluster.importance import estimate
from cluster.session import connected
from cluster.training import train
from pipelines.config import Config, DataConfig
from pipelines.continual.folder import PICTURE, RESULT, keep, so_far
from pipelines.continual.forgetting import Learnt
from pipelines.continual.runs import check_continual, importance_file, model_folder, run_folder, run_of, sample_of
from pipelines.continual.show import draw
from pipelines.data.labels import check_labels
from pipelines.data.read import read_split
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.mlflow_store import environment
from pipelines.run_folder import Busy, RunFolder, is_finished
from pipelines.tasks import make_task
from pipelines.tracking import Tracker

Tell = Callable[[str], None]


def learn_in_turn(config: Config, *, folder: Path, tell: Tell) -> Learnt:
    """Train on one set after the other, and score every model on the test splits of all sets so far.

    Args:
        folder: of the whole sequence. One that was stopped in it goes on with the set that it was at.

    Raises:
        UserError: config or data cannot be used, or the folder holds something else.
        Stopped: SIGINT or SIGTERM came; what is in the folder stays.
    """
    check_continual(config)
    labels = labels_of_all(config)
    try:
        place = RunFolder(folder.absolute())
    except Busy as busy:
        raise UserError(f"A sequence is still going on in {folder} ({busy}). Give another one with --output.") from None
    try:
        return _learn(config, place.path, labels, so_far(config, place.path), tell)
    finally:
        place.release()


def _learn(config: Config, folder: Path, labels: Sequence[str], found: Learnt, tell: Tell) -> Learnt:
    tracker = Tracker.start(config, run_name=folder.name)
    track = config.track.model_copy(update={"uri": tracker.uri, "system_metrics": False})
    each = config.model_copy(update={"track": track})
    try:
        for k in range(len(found.after), len(found.sets)):
            one = run_of(each, k, folder=folder, labels=labels)
            if not is_finished(run_folder(folder, k)):
                with environment({"MLFLOW_RUN_CONTEXT": json.dumps({"mlflow.parentRunId": tracker.run_id})}):
                    train(one)
            if found.method == "ewc" and k + 1 < len(found.sets) and not importance_file(folder, k).is_file():
                _find_importance(one, k, folder, sample_of(config))
            found = _scored(config, k, folder, found)
            for name, score in zip(found.sets, found.after[-1], strict=False):
                tell(f"after {found.sets[k]}: {found.score_name} {score:.4f} on {name}")
            tracker.metrics(k + 1, found.metrics())
            keep(found, folder)
        draw(folder / PICTURE, [found])
        tracker.picture(folder / PICTURE)
        tracker.file(folder / RESULT)
        tracker.finish("FINISHED")
    except Stopped:
        tracker.finish("KILLED")
        raise
    except BaseException:
        tracker.finish("FAILED")
        raise
    return found


def labels_of_all(config: Config) -> list[str]:
    """The labels of all sets' training splits; none where the task has none. Reads, and so checks, all of the data.

    Raises:
        UserError: a set cannot be read, has no test split, or holds a label in dev or test that no set has in train.
    """
    task, tables = make_task(config.train.task), {}
    task.kind.columns(config.data).check()
    for path in check_continual(config).sets:
        data = _data(config, path)
        found = sources(data)
        if "test" not in found:
            raise UserError(f"{path} has no test split, by which what is forgotten would be measured. Add one.")
        tables[path] = {split: read_split(found[split], split=split, data=data, kind=task.kind) for split in found}
    labels = frozenset[str]().union(*(splits["train"].labels for splits in tables.values()))
    known = task.labels({"train": labels})
    for splits in tables.values():
        check_labels({split: table.labels for split, table in splits.items()}, known)
    return sorted(labels) if known else []


def _find_importance(config: Config, k: int, folder: Path, sample: int) -> None:
    """How much each weight matters for set `k` and those before it, at the end of its run, which is `config`'s."""
    model = config.model.model_copy(update={"source": str(model_folder(folder, k))})
    before = importance_file(folder, k - 1) if k else None
    estimate(config.model_copy(update={"model": model}), path=importance_file(folder, k), sample=sample, before=before)


def _scored(config: Config, k: int, folder: Path, found: Learnt) -> Learnt:
    """With the scores of the model after set `k`."""
    assert config.continual is not None
    scores = []
    # One Ray for all of them, where there is none that they could join.
    with connected():
        for path in config.continual.sets[: k + 1]:
            model, budget = str(model_folder(folder, k)), config.train.token_budget
            report = evaluate_model(model, _data(config, path), split="test", token_budget=budget).report
            scores.append(report.score)
    return replace(found, score_name=report.score_name, after=(*found.after, tuple(scores)))


def _data(config: Config, path: str) -> DataConfig:
    return config.data.model_copy(update={"path": path})
