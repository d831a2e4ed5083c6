"""What lies beside a model's weights goes along with every form of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.adapt.adapted import ADAPTER
from pipelines.errors import UserError

_NOT_COPIED = {".safetensors", ".onnx", ".index.json"}


def copy_beside(folder: Path, out: Path) -> None:
    """Copy configuration, tokenizer and facts to the new folder `out`.

    Raises:
        UserError: there is an adapter, which would be missed.
    """
    if (folder / ADAPTER).is_dir():
        raise UserError(f"{folder} holds an adapter beside its model: train with one that is worked into the weights.")
    out.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file() and not any(path.name.endswith(end) for end in _NOT_COPIED):
            shutil.copy(path, out / path.name)
