"""A trained model without the blocks, and within those that stay without the neurons and heads, that matter least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.compress.compress import Compressed
from pipelines.compress.layers import Worth, prune_layers
from pipelines.compress.narrow import Narrowed, prune_inside
from pipelines.compress.trained import Sample
from pipelines.errors import UserError
from pipelines.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be left; None where nothing of a kind is to go."""

    layers: int | None = None
    """Blocks."""
    width: float | None = None
    """The share of the neurons of every block's feed-forward."""
    heads: int | None = None
    """Query heads of every block's attention."""

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: nothing is to go, or no share between 0 and 1.
        """
        if self.layers is None and self.width is None and self.heads is None:
            raise UserError("Nothing says what is to be left of the model: give --layers, --width, --heads or several.")
        if self.width is not None and not 0 < self.width < 1:
            raise UserError(f"--width {self.width:g} is no share: give a number between 0 and 1, such as 0.5.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Left:
    """What was left, and by what it was chosen."""

    layers: Worth | None = None
    neurons: Narrowed | None = None
    heads: Narrowed | None = None

    def told(self) -> str:
        """For whoever waits, such as `blocks 0, 2; 32 of 64 neurons in each block`."""
        found = [] if self.layers is None else [f"blocks {', '.join(map(str, self.layers.kept))}"]
        named = {"neurons": self.neurons, "groups of heads": self.heads}
        found += [f"{one.after} of {one.before} {name} in each block" for name, one in named.items() if one is not None]
        return "; ".join(found)

    def to_json(self) -> dict[str, Any]:
        named = {"layers": self.layers, "neurons": self.neurons, "heads": self.heads}
        return {name: None if one is None else one.to_json() for name, one in named.items()}

    def report(self) -> dict[str, Any]:
        """The same without the numbers of all neurons, which are thousands."""
        whole = self.to_json()
        return whole | {"neurons": whole["neurons"] and {k: v for k, v in whole["neurons"].items() if k != "kept"}}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Left:
        layers, neurons, heads = (found[name] for name in ("layers", "neurons", "heads"))
        return Left(
            None if layers is None else Worth.from_json(layers),
            None if neurons is None else Narrowed.from_json(neurons),
            None if heads is None else Narrowed.from_json(heads),
        )


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a model."""

    left: Left
    forms: Compressed
    """The whole model, and after it the pruned one and the recovered one."""

    @property
    def accepted(self) -> bool:
        """Whether the recovered one is."""
        return self.forms.verdicts[-1].accepted

    def to_json(self) -> dict[str, Any]:
        return self.left.report() | self.forms.to_json() | {"accepted": self.accepted}


def prune_model(
    folder: Path, out: Path, *, task: Task, wanted: Wanted, sample: Sample, tell: Callable[[str], None]
) -> Left:
    """Write what is wanted of the model in `folder` to the new folder `out`: fewer blocks first, then narrower ones.

    Args:
        task: that it was trained for.
        sample: the rows by which is chosen what goes.

    Raises:
        UserError: the model cannot be pruned so, or the data cannot be used.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as beside:
        worth = None
        inside = wanted.width is not None or wanted.heads is not None
        if wanted.layers is not None:
            fewer = Path(beside) / "model" if inside else out
            worth = prune_layers(folder, fewer, task=task, layers=wanted.layers, sample=sample, tell=tell)
            folder = fewer
        if not inside:
            return Left(worth)
        left = prune_inside(
            folder, out, task=task, width=wanted.width, heads=wanted.heads, sample=sample, tell=tell
        )  # fmt: skip
        return Left(worth, left.neurons, left.heads)
