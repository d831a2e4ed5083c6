"""What a version answers through. How it is loaded, and where, is not the business of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipelines.inference.registry import ModelRef


class Lane(Protocol):
    """One loaded version. Compared by identity: a version that is opened again has another lane."""

    @property
    def ref(self) -> ModelRef: ...

    @property
    def takes(self) -> type:
        """Of one input, as a Predictor's."""

    @property
    def gives(self) -> type:
        """Of one output, as a Predictor's."""

    async def answer(self, inputs: list[Any]) -> list[Any | None]:
        """An output for each input; None for one that the model failed on.

        Raises:
            Overloaded: too much waits; nothing was done.
        """


class Lanes(Protocol):
    """Opens at most two at once."""

    async def open(self, ref: ModelRef) -> Lane:
        """Load a version beside the others, and warm it up; they go on answering.

        Raises:
            Exception: it cannot be loaded; a UserError is told to people as it is, of others only the kind.
        """

    async def close(self, lane: Lane) -> None:
        """Free what it holds. Nothing is in flight on it any more."""
