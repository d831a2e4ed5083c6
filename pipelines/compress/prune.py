"""A trained model without those blocks, or neurons, heads and weights in the blocks that stay, that matter least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.compress.compress import Compressed
from pipelines.compress.layers import Worth, prune_layers
from pipelines.compress.narrow import Inside, Narrowed, prune_inside
from pipelines.compress.thin import ANY, FOUR, PATTERNS, TWO, TWO_OF_FOUR, Thinned, prune_weights
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
    weights: float | None = None
    """The share of the weights by which every neuron reads; with the pattern 2:4 it is half of them in any case."""
    pattern: str = ANY
    """Which of them may go together: one of PATTERNS."""

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: nothing is to go, no share between 0 and 1, or no pattern, or another share than it has.
        """
        if self.pattern not in PATTERNS:
            raise UserError(f"There is no --pattern {self.pattern!r}; known: {', '.join(PATTERNS)}.")
        if self.layers is None and self.width is None and self.heads is None and self.share is None:
            raise UserError(
                "Nothing says what is to be left of the model: give --layers, --width, --heads, --weights or several."
            )
        for name, share in (("width", self.width), ("weights", self.weights)):
            if share is not None and not 0 < share < 1:
                raise UserError(f"--{name} {share:g} is no share: give a number between 0 and 1, such as 0.5.")
        if self.pattern == TWO_OF_FOUR and self.weights is not None and self.weights != TWO / FOUR:
            raise UserError(f"--pattern {TWO_OF_FOUR} leaves half of the weights, not {self.weights:g} of them.")

    @property
    def share(self) -> float | None:
        """Of the single weights, what stays; None where none are to go."""
        return TWO / FOUR if self.pattern == TWO_OF_FOUR else self.weights

    def to_json(self) -> dict[str, Any]:
        # Of single weights it says nothing where none go: there are prunings from before they could.
        unused = {"weights", "pattern"} if self.share is None else set()
        return {name: value for name, value in asdict(self).items() if name not in unused}


@dataclass(frozen=True, slots=True)
class Left:
    """What was left, and by what it was chosen."""

    layers: Worth | None = None
    neurons: Narrowed | None = None
    heads: Narrowed | None = None
    weights: Thinned | None = None

    def told(self) -> str:
        """For whoever waits, such as `blocks 0, 2; 32 of 64 neurons in each block`."""
        found = [] if self.layers is None else [f"blocks {', '.join(map(str, self.layers.kept))}"]
        named = {"neurons": self.neurons, "groups of heads": self.heads}
        found += [f"{one.after} of {one.before} {name} in each block" for name, one in named.items() if one is not None]
        if (thinned := self.weights) is not None:
            found.append(f"{thinned.after:,} of {thinned.before:,} weights in {thinned.matrices} linear layers")
        return "; ".join(found)

    def to_json(self) -> dict[str, Any]:
        named = {"layers": self.layers, "neurons": self.neurons, "heads": self.heads, "weights": self.weights}
        return {name: None if one is None else one.to_json() for name, one in named.items()}

    def report(self) -> dict[str, Any]:
        """The same without the numbers of all neurons, which are thousands."""
        whole = self.to_json()
        return whole | {"neurons": whole["neurons"] and {k: v for k, v in whole["neurons"].items() if k != "kept"}}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Left:
        layers, neurons, heads, weights = (found.get(name) for name in ("layers", "neurons", "heads", "weights"))
        return Left(
            None if layers is None else Worth.from_json(layers),
            None if neurons is None else Narrowed.from_json(neurons),
            None if heads is None else Narrowed.from_json(heads),
            None if weights is None else Thinned.from_json(weights),
        )


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a model."""

    left: Left
    forms: Compressed
    """The whole model; after it the pruned one, the recovered one and, if that saves room, that without its zeros."""

    @property
    def accepted(self) -> bool:
        """Whether the last of them is."""
        return self.forms.verdicts[-1].accepted

    def to_json(self) -> dict[str, Any]:
        return self.left.report() | self.forms.to_json() | {"accepted": self.accepted}


def prune_model(
    folder: Path, out: Path, *, task: Task, wanted: Wanted, sample: Sample, tell: Callable[[str], None]
) -> Left:
    """Write what is wanted of the model in `folder` to the new folder `out`: fewer blocks first, then narrower ones,
    then fewer single weights in these.

    Args:
        task: that it was trained for.
        sample: the rows by which is chosen what goes.

    Raises:
        UserError: the model cannot be pruned so, or the data cannot be used.
    """
    given: dict[str, Any] = {"task": task, "sample": sample, "tell": tell}
    steps: dict[str, Callable[[Path, Path], Any]] = {}
    if wanted.layers is not None:
        steps["layers"] = partial(prune_layers, layers=wanted.layers, **given)
    if wanted.width is not None or wanted.heads is not None:
        steps["inside"] = partial(prune_inside, width=wanted.width, heads=wanted.heads, **given)
    if (share := wanted.share) is not None:
        steps["weights"] = partial(prune_weights, share=share, pattern=wanted.pattern, **given)
    found: dict[str, Any] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as beside:
        for number, (name, step) in enumerate(steps.items(), start=1):
            after = out if number == len(steps) else Path(beside) / name
            found[name] = step(folder, after)
            folder = after
    inside = found.get("inside", Inside(None, None))
    return Left(found.get("layers"), inside.neurons, inside.heads, found.get("weights"))
