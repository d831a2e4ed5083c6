"""Weights without their zeros: a file that a model's folder holds in the place of its dense ones.

    [[0 0 7]      NAME/bits    0 0 1 0 1 1 (8 in a byte, the first is the lowest)
     [0 2 3]]     NAME/values  7 2 3                                        metadata: NAME = "2 3"

All other tensors are in it as they are. What is read is bitwise what was written: -0 is no zero. Whoever reads a model
reads it from a dense copy that lives only so long, so that nothing else knows of the file. compressed-tensors, which
had such a form, has given it up (0.20 reads dense and quantised weights alone).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.errors import UserError

SPARSE_FILE = "sparse.safetensors"
BITS, VALUES = "/bits", "/values"
_SHAPE = re.compile(r"[1-9]\d{0,9} [1-9]\d{0,9}")


def pack(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Where it is not zero, in bits, and its values there."""
    there = ((matrix != 0) | matrix.signbit()).flatten()
    return torch.from_numpy(np.packbits(there.numpy(), bitorder="little")), matrix.flatten()[there]


def write_sparse_file(path: Path, dense: dict[str, Tensor], matrices: dict[str, Tensor]) -> None:
    """Write `matrices` packed and `dense` as they are, by name."""
    held = dict(dense)
    for name, matrix in matrices.items():
        held[name + BITS], held[name + VALUES] = pack(matrix)
    save_file(held, path, metadata={name: " ".join(map(str, matrix.shape)) for name, matrix in matrices.items()})


def read_sparse_file(path: Path) -> dict[str, Tensor]:
    """All tensors of the file, dense, by name.

    Raises:
        UserError: it is damaged. What it makes of memory is at most 32 times (of float32) as large as the file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = file.metadata() or {}
            # safe_open is no mapping: its keys are not to be had by iterating.
            held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from None
    for name, said in shapes.items():
        bits, values = held.pop(name + BITS, None), held.pop(name + VALUES, None)
        if bits is None or values is None or name in held or not _SHAPE.fullmatch(said):
            raise _damaged(path, f"{name[:99]!r} is not whole")
        shape = [int(size) for size in said.split()]
        if bits.dtype != torch.uint8 or bits.ndim != 1 or len(bits) != -(-prod(shape) // 8):
            raise _damaged(path, f"{name[:99]!r} has bits for another shape than {said}")
        there = torch.from_numpy(np.unpackbits(bits.numpy(), count=prod(shape), bitorder="little")).bool()
        if values.ndim != 1 or len(values) != int(there.sum()):
            raise _damaged(path, f"{name[:99]!r} has bits for {int(there.sum())} values, and {values.numel()} of them")
        whole = values.new_zeros(prod(shape))
        whole[there] = values
        held[name] = whole.reshape(shape)
    return held


@contextmanager
def dense_folder(folder: Path) -> Iterator[Path]:
    """A folder that `from_pretrained` reads: the given one, or, while this lasts, one with dense weights in its place.

    Raises:
        UserError: its sparse weights are damaged.
    """
    if not (folder / SPARSE_FILE).is_file():
        yield folder
        return
    with TemporaryDirectory() as beside:
        for path in folder.absolute().iterdir():
            if path.suffix != ".safetensors":
                os.symlink(path, Path(beside, path.name))
        save_file(read_sparse_file(folder / SPARSE_FILE), Path(beside, "model.safetensors"), metadata={"format": "pt"})
        yield Path(beside)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} cannot be read ({why}): write it anew, with jobs.compress.")
