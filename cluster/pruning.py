"""A model with fewer blocks, which learns again from the whole one, and what is lost by that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.training import train
from pipelines.compress.compress import Compressed, judge
from pipelines.compress.layers import Worth, prune_layers
from pipelines.compress.trial import measure_forms
from pipelines.config import Config
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.report.summary import write_json
from pipelines.run_folder import is_finished
from pipelines.tasks import make_task

WHOLE, PRUNED, RECOVERED = "whole", "pruned", "recovered"
RUN, WORTH = "run", "layers.json"
"""In the folder of a pruning: the run in which it learns again, and what its blocks are worth."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a model."""

    worth: Worth
    forms: Compressed
    """The whole model, and after it the pruned one and the recovered one."""

    @property
    def accepted(self) -> bool:
        """Whether the recovered one is."""
        return self.forms.verdicts[-1].accepted

    def to_json(self) -> dict[str, Any]:
        return {"layers": self.worth.to_json()} | self.forms.to_json() | {"accepted": self.accepted}


def prune(
    config: Config, folder: Path, out: Path, *, layers: int, most_rows: int, threads: int, most_lost: float, tell: Tell
) -> Pruned:
    """Leave out blocks of the model in `folder`, train what is left, and score and time all on the test split.

    What is written is in `out`: `pruned`, and `run` with the model that has learnt again. One that was stopped goes on
    when it is called again.

    Args:
        config: of the run in which it learns again, without `model.source` and `run.output`.
        layers: how many blocks stay.
        most_rows: of dev (of train where there is no dev) that the blocks are measured on.
        threads: that the models are timed with.
        most_lost: of the score, as a share of 1.

    Raises:
        UserError: config, data or model cannot be used.
        Stopped: SIGINT or SIGTERM came; a checkpoint was saved.
    """
    found = sources(config.data)
    if "test" not in found:
        raise UserError("There is no test split, on which the models are scored. Set data.test to a file.")
    worth = _pruned(config, folder, out, found, layers, most_rows, tell)
    if not is_finished(out / RUN):
        tell(f"learning again with the blocks {', '.join(map(str, worth.kept))}")
        model = config.model.model_copy(update={"source": str((out / PRUNED).absolute())})
        run = config.run.model_copy(update={"output": str((out / RUN).absolute())})
        train(config.model_copy(update={"model": model, "run": run}))
    tell("scoring and timing")
    folders = {WHOLE: folder, PRUNED: out / PRUNED, RECOVERED: out / RUN / "model"}
    whole, *others = measure_forms(folders, source=found["test"], split="test", data=config.data, threads=threads)
    verdicts = tuple(judge(whole, one, most_lost) for one in others)
    return Pruned(worth, Compressed(whole, verdicts, most_lost, threads))


def _pruned(
    config: Config, folder: Path, out: Path, found: dict[str, str], layers: int, most_rows: int, tell: Tell
) -> Worth:
    """What the blocks are worth; as it was found when this was begun, where it was."""
    split = "dev" if "dev" in found else "train"
    asked = {"model": str(folder.absolute()), "layers": layers, "source": found[split], "most_rows": most_rows}
    if (out / WORTH).is_file():
        before = json.loads((out / WORTH).read_text(encoding="utf-8"))
        if before["asked"] != asked:
            raise UserError(f"{out} is of another pruning: {before['asked']}. Remove it, or give another --out.")
        return Worth.from_json(before)
    if (out / PRUNED).exists():
        raise UserError(f"{out / PRUNED} exists: remove it, or give another folder with --out.")
    worth = prune_layers(
        folder, out / PRUNED, task=make_task(config.train.task), layers=layers, source=found[split], split=split,
        data=config.data, most_rows=most_rows, tell=tell,
    )  # fmt: skip
    write_json(out / WORTH, worth.to_json() | {"asked": asked})
    return worth
