"""What a sequence of data sets leaves in its folder, and how it goes on there after it was stopped.

FOLDER/config.yaml       what it is            FOLDER/set-1, set-2, ...   a run's folder each
FOLDER/continual.json    its scores so far     FOLDER/forgetting.png      a line a set, at the end
"""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.config import Config, load_config
from pipelines.continual.forgetting import Learnt
from pipelines.continual.runs import check_continual, names_of
from pipelines.errors import UserError
from pipelines.mlflow_store import without_password
from pipelines.report.summary import write_json, write_whole
from pipelines.run_folder import CONFIG, is_free
from pipelines.take_up import NEVER
from pipelines.train.resume import difference

RESULT, PICTURE = "continual.json", "forgetting.png"


def so_far(config: Config, folder: Path) -> Learnt:
    """What the sequence in a folder has come to; nothing where there is none, which begins with this.

    Raises:
        UserError: the folder holds something else, a sequence of another config, or one that came to its end.
    """
    wanted = check_continual(config)
    sets = tuple(names_of(wanted.sets))
    if is_free(folder):
        write_whole(folder / CONFIG, without_password(config).to_yaml())
        return Learnt(wanted.method, "", sets, ())
    what, mend = f"The folder {folder} exists and is not empty", "Give another one with --output."
    if config.checkpoint.resume == NEVER or not (folder / CONFIG).is_file():
        raise UserError(f"{what}. {mend}")
    before = load_config(str(folder / CONFIG))
    differs = difference(config, before)
    if differs is None and before.continual != wanted:
        differs = f"continual is {before.continual} there, and {wanted} here"
    if differs is not None:
        raise UserError(f"{what}: it holds something of another config ({differs}). {mend}")
    if not (folder / RESULT).is_file():
        return Learnt(wanted.method, "", sets, ())
    found = kept(folder)
    if found.is_whole:
        raise UserError(f"{what}: it holds a sequence that came to its end. {mend}")
    return found


def keep(found: Learnt, folder: Path) -> None:
    """Write the scores so far."""
    write_json(folder / RESULT, found.to_json())


def kept(folder: Path) -> Learnt:
    """What `keep` wrote."""
    return Learnt.of(json.loads((folder / RESULT).read_text(encoding="utf-8")))
