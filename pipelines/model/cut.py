"""Run some units of a model by the model's own forward, and only these.

    stage 0            stage 1            stage 2
    embeddings  run    embeddings  -      embeddings  -       `-` costs nothing: its weights are stand-ins
    block 0     run    block 0     skip   block 0     skip    `skip` gives back what the stage before sent
    block 1     stop   block 1     skip   block 1     skip    `stop` ends the forward after this block
                       block 2     stop   block 2     skip
                                          block 3     run
                                          head        run

Every stage calls the whole forward on the micro-batch's small inputs (token ids, masks), so that masks,
positions and the loop over the blocks stay the model's own code. What crosses a cut is the output of
the last block that ran, whatever its structure; and if the cut is right behind the embeddings, the
first floating-point argument of the first block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pipelines.model.units import FIRST, LAST, Units
from pipelines.train.randomness import Stream


class _Stop(Exception):
    """Carries the output of a chunk's last block out of the model's forward."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class Chunk(nn.Module):
    """Units `first` to `end - 1` of `model`. The model is changed: its blocks now obey this chunk."""

    def __init__(self, model: nn.Module, units: Units, first: int, end: int) -> None:
        super().__init__()
        if not 0 <= first < end <= len(units):
            raise ValueError(f"units {first} to {end} of {len(units)} are no chunk")
        self.model = model
        self.first, self.end = first, end
        self.is_first, self.is_last = first == 0, end == len(units)
        self._blocks = units.blocks
        self._outputs = [unit.num_outputs for unit in units.all]
        self._received: list[Tensor] = []
        self._stream: Stream | None = None
        for k, path in enumerate(units.blocks, start=1):
            block = model.get_submodule(path)
            block.forward = self._obeying(k, block.forward)

    def forward(self, inputs: Mapping[str, Tensor], received: Sequence[Tensor], stream: Stream | None = None) -> Any:
        """Run the chunk on one micro-batch.

        Args:
            inputs: the model's small inputs, [rows, length] each; the same on every stage.
            received: what the chunk before sent; empty for the first one.
            stream: where dropout draws from; None leaves the generator alone (evaluation).

        Returns:
            The model's own output from the last chunk; a list of tensors to send from any other.
        """
        self._received = list(received)
        self._stream = stream
        try:
            self._enter(FIRST)
            output = self.model(**inputs)
        except _Stop as stop:
            return _tensors(stop.output)
        finally:
            self._received, self._stream = [], None
        assert self.is_last, "the forward ended without reaching the end of the chunk"
        return output

    def _enter(self, place: str) -> None:
        if self._stream is not None:
            self._stream.enter(place)

    def _obeying(self, k: int, run: Callable[..., Any]) -> Callable[..., Any]:
        """What unit `k`, a block, does on this stage in place of its own forward."""
        name, last, is_tensor = self._blocks[k - 1], k == len(self._blocks), self._outputs[k] is None

        def skip(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001
            # Each skipped block gives back the same; the last one's answer is the one that counts.
            self._enter(LAST if last else f"behind {name}")
            return self._received[0] if is_tensor else tuple(self._received)

        def own(*args: Any, **kwargs: Any) -> Any:
            if k == 1 and self.end == 1:
                raise _Stop(args[_carrier(args)])
            if k == 1 and self.first == 1:
                at = _carrier(args)
                args = (*args[:at], self._received[0], *args[at + 1 :])
            self._enter(name)
            output = run(*args, **kwargs)
            if k == self.end - 1:
                raise _Stop(output)
            self._enter(LAST if last else f"behind {name}")
            return output

        return skip if k < self.first else own


def _carrier(args: Sequence[Any]) -> int:
    """Which positional argument of the first block carries the hidden states."""
    for at, arg in enumerate(args):
        if isinstance(arg, Tensor) and arg.is_floating_point():
            return at
    raise RuntimeError("the first block gets no floating-point tensor as a positional argument")


def _tensors(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(output)
