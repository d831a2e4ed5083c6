"""The model with weights of 16 bits (bfloat16), for chips that multiply them by themselves."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.compress.beside import copy_beside
from pipelines.inference.facts import read_facts
from pipelines.inference.files import refuse_pickle
from pipelines.inference.predictors import DEFAULT
from pipelines.model.load import quiet
from pipelines.model.sparse_file import dense_folder
from pipelines.tasks import make_task
from pipelines.train.chip import this_multiplies_bfloat16

LEFT_OUT = "bfloat16 is left out: this machine's processor does not multiply it, and would take a hundred times as long"


def pays_here() -> bool:
    """Whether this machine's processor multiplies bfloat16, or does not tell."""
    return this_multiplies_bfloat16() is not False


def halve(folder: Path, out: Path) -> None:
    """Write the model in `folder` with its weights in bfloat16 to the new folder `out`; it computes in that as well.

    Raises:
        UserError: there is an adapter beside it, or its weights are not safetensors.
    """
    refuse_pickle(folder)
    copy_beside(folder, out)
    task = make_task(str(read_facts(folder).get("task", DEFAULT)))
    with quiet():
        with dense_folder(folder) as place:
            model = task.auto_class.from_pretrained(
                place, local_files_only=True, use_safetensors=True, dtype=torch.bfloat16
            )
        model.save_pretrained(out)
