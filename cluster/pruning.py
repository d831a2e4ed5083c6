"""A model with less in it, which learns again from the whole one, and what is lost by that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from cluster.training import train
from pipelines.compress.compress import SPARSE, Compressed, judge
from pipelines.compress.prune import Left, Pruned, Wanted, prune_model
from pipelines.compress.sparse import leave_out_zeros, saves
from pipelines.compress.trained import Sample
from pipelines.compress.trial import measure_forms
from pipelines.config import Config
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.report.summary import write_json
from pipelines.run_folder import is_finished
from pipelines.tasks import make_task

WHOLE, PRUNED, RECOVERED = "whole", "pruned", "recovered"
RUN, LEFT = "run", "layers.json"
"""In the folder of a pruning: the run in which it learns again, and what is left of its layers."""
Tell = Callable[[str], None]


def prune(
    config: Config,
    folder: Path,
    out: Path,
    *,
    wanted: Wanted,
    most_rows: int,
    threads: int,
    most_lost: float,
    tell: Tell,
) -> Pruned:
    """Prune the model in `folder`, train what is left, and score and time all on the test split.

    What is written is in `out`: `pruned`, `run` with the model that has learnt again, and that without its zeros in
    `sparse` where it has enough of them. One that was stopped goes on when it is called again.

    Args:
        config: of the run in which it learns again, without `model.source` and `run.output`.
        most_rows: of dev (of train where there is no dev) by which is chosen what goes.
        threads: that the models are timed with.
        most_lost: of the score, as a share of 1.

    Raises:
        UserError: config, data or model cannot be used.
        Stopped: SIGINT or SIGTERM came; a checkpoint was saved.
    """
    found = sources(config.data)
    if "test" not in found:
        raise UserError("There is no test split, on which the models are scored. Set data.test to a file.")
    split = "dev" if "dev" in found else "train"
    left = _left(config, folder, out, wanted, Sample(found[split], split, config.data, most_rows), tell)
    if not is_finished(out / RUN):
        tell(f"learning again with {left.told()}")
        model = config.model.model_copy(update={"source": str((out / PRUNED).absolute())})
        run = config.run.model_copy(update={"output": str((out / RUN).absolute())})
        train(config.model_copy(update={"model": model, "run": run}))
    tell("scoring and timing")
    folders = {WHOLE: folder, PRUNED: out / PRUNED, RECOVERED: out / RUN / "model"}
    if saves(folders[RECOVERED]):
        folders[SPARSE] = out / SPARSE
        shutil.rmtree(folders[SPARSE], ignore_errors=True)
        leave_out_zeros(folders[RECOVERED], folders[SPARSE])
    whole, *others = measure_forms(folders, source=found["test"], split="test", data=config.data, threads=threads)
    verdicts = tuple(judge(whole, one, most_lost) for one in others)
    return Pruned(left, Compressed(whole, verdicts, most_lost, threads))


def _left(config: Config, folder: Path, out: Path, wanted: Wanted, sample: Sample, tell: Tell) -> Left:
    """What is left of the model; as it was found when this was begun, where it was."""
    asked = {"model": str(folder.absolute()), "source": sample.source, "most_rows": sample.most_rows}
    asked |= wanted.to_json()
    if (out / LEFT).is_file():
        before = json.loads((out / LEFT).read_text(encoding="utf-8"))
        if before["asked"] != asked:
            raise UserError(f"{out} is of another pruning: {before['asked']}. Remove it, or give another --out.")
        return Left.from_json(before)
    if (out / PRUNED).exists():
        raise UserError(f"{out / PRUNED} exists: remove it, or give another folder with --out.")
    left = prune_model(
        folder, out / PRUNED, task=make_task(config.train.task), wanted=wanted, sample=sample, tell=tell
    )  # fmt: skip
    write_json(out / LEFT, left.to_json() | {"asked": asked})
    return left
