"""How much each weight mattered: the diagonal of the empirical Fisher information, and the file that holds it.

    F = mean over examples of (gradient of the example's own loss)²        by fully qualified name, in safetensors

Gradients are those of the labels that the examples have, at the weights that training ended with, without dropout.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipelines.config import Config
from pipelines.data.textfile import existing
from pipelines.errors import UserError


class Squares:
    """The squared gradients of one stage, added up example by example."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, gradients: Iterable[tuple[str, Tensor]]) -> None:
        """Take one example's gradients in."""
        for name, gradient in gradients:
            squares = gradient.square()
            self._sums[name] = squares if name not in self._sums else self._sums[name].add_(squares)

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """The sums by fully qualified name; a parameter that never had a gradient has none."""
        yield from self._sums.items()


class Importance:
    """A file that says of each trained parameter of a model how much its values mattered."""

    def __init__(self, path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """
        Args:
            shapes: of the model's trained parameters.

        Raises:
            UserError: there is no such file, it cannot be read as safetensors, or it is of another model.
        """
        self.path = importance_at(str(path))
        self.digest = _digest(self.path)
        """SHA-256 of the file."""
        try:
            with safe_open(self.path, framework="pt") as file:
                # safe_open is no mapping: its keys are not to be had by iterating.
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(
                f"The file {self.path} cannot be read as safetensors ({error}). Give the file that jobs.continual "
                "wrote (train.ewc.importance)."
            ) from None
        for name in sorted(found.keys() | shapes.keys()):
            there, here = (of.get(name, "missing") for of in (found, shapes))
            if there != here:
                raise UserError(
                    f"{self.path} does not belong to this model: {name} is {there} there, and {here} among what is "
                    "trained here. Start from the model that it was made of (model.source), and train the same "
                    "parameters."
                )

    def named(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The values of some parameters, each read when it is asked for."""
        with safe_open(self.path, framework="pt") as file:
            for name in names:
                yield name, file.get_tensor(name)


def write_importance(
    path: Path,
    sums: Iterable[tuple[str, Tensor]],
    *,
    examples: int,
    shapes: Mapping[str, tuple[int, ...]],
    earlier: Sequence[Importance] = (),
) -> None:
    """Write the mean of squares over so many examples, and that of earlier sets added to it.

    The file appears whole or not at all.

    Args:
        sums: of `Squares`, of all stages.
        shapes: of the model's trained parameters; one that never had a gradient did not matter.
    """
    values = {name: value / examples for name, value in sums}
    dtype = next(iter(values.values())).dtype
    values |= {name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items() if name not in values}
    for other in earlier:
        for name, value in other.named(values):
            values[name] += value
    beside = path.with_name(f".{path.name}.writing")
    save_file({name: values[name].contiguous() for name in sorted(values)}, beside)
    os.replace(beside, path)


def check_ewc(config: Config) -> None:
    """Refuse what elastic weight consolidation does not go together with.

    Raises:
        UserError: says what, and what to change.
    """
    if config.train.ewc is None:
        return
    if config.plan.servers or config.plan.strategy == "data":
        what = "plan.servers" if config.plan.servers else "plan.strategy=data"
        raise UserError(
            f"train.ewc does not go together with {what}: stages hold back the weights that they own. Use one replica "
            "of plan.strategy=pipeline with plan.servers=0, or leave train.ewc out."
        )
    importance_at(config.train.ewc.importance)


def importance_at(source: str) -> Path:
    """The file that `train.ewc.importance` names.

    Raises:
        UserError: it is not there, or is no file.
    """
    path = existing(source)
    if not path.is_file():
        raise UserError(f"{path} is no file (train.ewc.importance). Give one that jobs.continual wrote.")
    return path


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"The file {path} (train.ewc.importance) cannot be read: {error.strerror}.") from None
