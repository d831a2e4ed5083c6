"""The model without the zeros of its matrices: smaller on the disk and on its way, and dense where it runs."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from pipelines.compress.beside import copy_beside
from pipelines.inference.files import refuse_pickle
from pipelines.model.sparse_file import SPARSE_FILE, write_sparse_file

LEAST = 0.05
"""Of a model's bytes, what has to be saved for it to be written: less would not count as smaller."""


def saves(folder: Path) -> bool:
    """Whether the weights in `folder`, which may hold none, would be smaller without their zeros."""
    tensors = _read(folder)
    saved = sum(_saved(tensor) for tensor in tensors.values())
    return saved > 0 and saved >= LEAST * sum(tensor.nbytes for tensor in tensors.values())


def leave_out_zeros(folder: Path, out: Path) -> None:
    """Write the model in `folder` without the zeros of those matrices that get smaller to the new folder `out`.

    Raises:
        UserError: there is an adapter beside it, or its weights are not safetensors.
    """
    refuse_pickle(folder)
    tensors = _read(folder)
    copy_beside(folder, out)
    matrices = {name: tensor for name, tensor in tensors.items() if _saved(tensor) > 0}
    dense = {name: tensor for name, tensor in tensors.items() if name not in matrices}
    write_sparse_file(out / SPARSE_FILE, dense, matrices)


def _read(folder: Path) -> dict[str, Tensor]:
    """The dense weights in a folder, of all its files."""
    files = (path for path in sorted(folder.glob("*.safetensors")) if path.name != SPARSE_FILE)
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


def _saved(tensor: Tensor) -> int:
    """Bytes: a bit for each value in the place of the zeros."""
    if tensor.ndim != 2 or not tensor.is_floating_point():
        return 0
    zeros = tensor.numel() - int((tensor != 0).sum())
    return zeros * tensor.itemsize - tensor.numel() // 8
