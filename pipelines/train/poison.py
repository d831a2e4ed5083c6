"""Steps whose numbers are not finite: where the first of these was, and what becomes of the run.

    norm of the step's gradients ── finite ──────▶ update
                                 └─ NaN or Inf ──▶ no weight changes anywhere; the step's micro-batches run again,
                                                   unit by unit (pipelines/train/inquiry.py); train.poisoned says
                                                   what then

A loss that is not finite makes all gradients NaN (pipelines/train/stage.py), so the one norm that an update needs
anyway tells of everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.train.loss_scale import BACKOFF

MOST_IN_A_ROW = 10
"""Steps that are left out one behind the other: with so many the run ends, for nothing is learnt any more."""

LONGEST = 4096
"""Bytes of what is found: a name has hundreds at most."""


class Where(IntEnum):
    """In the order in which a micro-batch comes there."""

    FORWARD = 0
    LOSS = 1
    BACKWARD = 2
    TOGETHER = 3
    """In no micro-batch alone."""
    MOVED = 4
    """As before, of a step that ran with the embeddings moved, too."""


@dataclass(frozen=True, slots=True, order=True)
class Poison:
    """The first place at which a step had a number that is not finite; the lesser of two came first."""

    micro_batch: int
    where: Where
    turn: int = 0
    """Of the unit, in the order of this pass."""
    unit: str = ""
    parameter: str = ""
    """Whose gradient it is, fully qualified; empty where it is what a unit hands on."""

    @staticmethod
    def together(num_micro_batches: int, *, moved: bool = False) -> Poison:
        """Of a step whose micro-batches are all sound where it is told.

        Args:
            moved: whether they ran with the embeddings moved, too, which is not tried again.
        """
        return Poison(num_micro_batches, Where.MOVED if moved else Where.TOGETHER)

    def __str__(self) -> str:
        unit, i = repr(self.unit), self.micro_batch
        if self.where is Where.FORWARD:
            return f"the first that are not came in the forward: activations of unit {unit} in micro-batch {i}"
        if self.where is Where.LOSS:
            return f"the first that is not is the loss of micro-batch {i}, behind unit {unit}"
        if self.where is Where.BACKWARD and self.parameter:
            of = f"{self.parameter!r} of unit {unit} in micro-batch {i}"
            return f"the first that is not came in the backward: the norm of the gradient of {of}"
        if self.where is Where.BACKWARD:
            return f"the first that are not came in the backward: gradients that unit {unit} gave on in micro-batch {i}"
        moved = (
            "with the embeddings moved something is not (train.adversarial), or " if self.where is Where.MOVED else ""
        )
        return f"every micro-batch alone is sound, but {moved}their gradients' sum is not, or its norm is too large"

    def to_bytes(self) -> bytes:
        """For other processes; `of_bytes` reads it back."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def of_bytes(text: bytes) -> Poison:
        found = json.loads(text)
        return Poison(**(found | {"where": Where(found["where"])}))


def first_of(found: Iterable[Poison | None]) -> Poison | None:
    """The one that came first; None where there is none."""
    return min((one for one in found if one is not None), default=None)


def told(step: int, poison: Poison | None, rows: Sequence[Sequence[int]]) -> str | None:
    """What to tell of a step; None of a sound one.

    Args:
        step: its number, the first is 1.
        rows: of every micro-batch, the numbers of its examples in the training split.
    """
    if poison is None:
        return None
    of = "" if poison.where >= Where.TOGETHER else f" (rows of train: {_listed(rows[poison.micro_batch])})"
    return f"step {step} changed no weight: its numbers are not all finite; {poison}{of}"


class Tolerance:
    """What one run bears: with `train.poisoned=skip` some steps without an update, else none."""

    def __init__(self, train: TrainConfig) -> None:
        self._skips, self._in_a_row = train.poisoned == "skip", 0

    def take(self, found: str | None, loss_scale: float | None) -> None:
        """Take note of a step.

        Args:
            found: what is told of it; None of a sound one.
            loss_scale: of the step. With one, a step is poisoned only where no smaller scale would help.

        Raises:
            FloatingPointError: the run is to end.
        """
        if found is None:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        sentence = f"{found[0].upper()}{found[1:]}."
        if loss_scale is not None:
            raise FloatingPointError(
                f"{sentence} The loss scale is already down to {loss_scale * BACKOFF}: the model itself leaves "
                "float16's range (65504), or it diverges. Use train.precision=bfloat16 or float32, or lower "
                "train.learning_rate."
            )
        if not self._skips:
            raise FloatingPointError(
                f"{sentence} If these rows are broken, mend or remove them; if the run diverges, lower "
                "train.learning_rate or set train.clip; or leave such steps out with train.poisoned=skip."
            )
        if self._in_a_row == MOST_IN_A_ROW:
            raise FloatingPointError(
                f"{sentence} It was the {MOST_IN_A_ROW}th such step in a row (train.poisoned=skip): the run learns "
                "nothing any more. Lower train.learning_rate, set train.clip, or use train.precision=float32."
            )


def check_poisoned(config: Config) -> None:
    """Refuse what does not go together with steps that are left out.

    Raises:
        UserError: says which two settings contradict each other.
    """
    if config.train.poisoned == "skip" and config.adapter is not None and config.adapter.method == "adalora":
        raise UserError(
            "adapter.method=adalora does not go together with train.poisoned=skip: a step that is left out may be one "
            "at which the ranks are allotted. Use train.poisoned=stop."
        )


def _listed(rows: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(map(str, rows[:most]))
    return shown if len(rows) <= most else f"{shown}, and {len(rows) - most} more"
