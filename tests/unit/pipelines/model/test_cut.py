"""Chunks one behind the other are the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import nn

from pipelines.errors import UserError
from pipelines.model.cut import Chunk, Cut, chunk_of
from pipelines.model.load import config_of, lay_out, put, skeleton
from pipelines.model.units import find_units
from pipelines.model.verify import verify
from pipelines.train.randomness import Stream
from tests.unit.pipelines.model.test_units import INPUTS, Block, Blocks, Experts, TwoStacks
from tests.unit.pipelines.one_process import probe, tiny


def chunks(model: nn.Module, cut: Sequence[int]) -> list[tuple[Cut, Chunk]]:
    units = find_units(model, probe())
    weights = model.state_dict()
    made = []
    for first, end in pairwise([0, *cut, len(units)]):
        part = skeleton(config_of(model), model_class=type(model).__name__, dtype="float32")
        names = units.parameters(first, end)
        lay_out(part, names)
        put(part, {name: weights[name] for name in names})
        made.append((Cut(part.eval(), units), Chunk.of(units, first, end)))
    return made


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "llama", "gpt2"])
@pytest.mark.parametrize("cut", [[1], [2], [5], [6], [1, 3, 5, 7], [1, 2, 3, 4, 5, 6, 7]], ids=str)
def test_chunks_one_behind_the_other_answer_as_the_whole_model_does(family: str, cut: list[int]) -> None:
    model = tiny(family).eval()
    crossing: list[torch.Tensor] = []
    for part, chunk in chunks(model, cut):
        output = part.run(chunk, probe(), crossing)
        crossing = output if isinstance(output, list) else []
    assert torch.equal(output.logits, model(**probe()).logits)


def test_a_chunk_holds_its_own_parameters_and_no_others() -> None:
    model = tiny("bert")
    for part, chunk in chunks(model, [2, 5]):
        units = find_units(model, probe())
        held = dict(part.model.named_parameters())
        own = set(units.parameters(chunk.first, chunk.end))
        stored = {name for name, p in held.items() if p.untyped_storage().nbytes() == p.numel() * p.element_size()}
        assert own == {name for name, p in held.items() if p.requires_grad}
        # A stand-in stores one value, whatever its shape; one-value parameters aside.
        assert stored - own == {name for name in stored if held[name].numel() == 1}
        assert all(p.isnan().all() for name, p in held.items() if name not in own)


@pytest.mark.parametrize("make", [lambda: Blocks([2, 0, 0, 1], share=True), TwoStacks, Experts])
def test_every_cut_of_an_unusual_model_gives_its_answer_and_its_gradients(make) -> None:
    model = make()
    units = find_units(model, INPUTS)
    plain = model(**INPUTS)
    plain.square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for cut in range(1, len(units)):
        model.zero_grad()
        verify(model, units, [cut], INPUTS)
        with chunk_of(model, units, 0, cut) as chunk:
            sent = chunk(INPUTS, [])
        arrived = [t.detach().requires_grad_(t.is_floating_point()) for t in sent]
        with chunk_of(model, units, cut, len(units)) as chunk:
            answer = chunk(INPUTS, arrived)
        assert torch.equal(answer, plain)
        answer.square().sum().backward()
        pairs = [(t, a.grad) for t, a in zip(sent, arrived, strict=True) if t.requires_grad and a.grad is not None]
        torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient)


def test_a_released_model_is_as_it_was() -> None:
    model = Blocks([0, 1, 2])
    plain = model(**INPUTS)
    with chunk_of(model, find_units(model, INPUTS), 0, 2) as chunk:
        chunk(INPUTS, [])
    assert torch.equal(model(**INPUTS), plain)
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_a_model_may_change_what_arrived_in_place() -> None:
    class Changing(Block):
        def forward(self, x: torch.Tensor) -> object:
            x += 1
            return super().forward(x)

    model = Blocks([0, 1, 2])
    model.blocks[1] = Changing()
    verify(model, find_units(model, INPUTS), [2], INPUTS)


def test_a_chunk_outside_the_model_is_refused() -> None:
    model = tiny("bert")
    with pytest.raises(ValueError, match="units 2 to 2 of 8 are no chunk"):
        Chunk.of(find_units(model, probe()), 2, 2)


def test_pieces_that_answer_otherwise_are_refused() -> None:
    class Leaving(Block):
        """Leaves a number for others, outside autograd's sight."""

        left = torch.zeros(4)

        def forward(self, x: torch.Tensor) -> object:
            self.left = x.detach().mean((0, 1))
            return super().forward(x)

    class Reading(Blocks):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return super().forward(input_ids) + self.blocks[0].left

    model = Reading([0, 1, 2])
    model.blocks[0] = Leaving()
    units = find_units(model, INPUTS)
    verify(model, units, [1], INPUTS)
    with pytest.raises(UserError, match=r"Reading cannot be cut before unit 3: the pieces answer otherwise"):
        verify(model, units, [3], INPUTS)


def test_a_cut_inside_a_block_that_does_not_work_is_refused_with_the_advice_to_cut_between_blocks() -> None:
    class Halved(nn.Module):
        """Its second half reads what its first half leaves outside autograd's sight."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Leaving(), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)
            return y + self.second(y) + self.first.left

    class Leaving(Block):
        left = torch.zeros(4)

        def forward(self, x: torch.Tensor) -> object:
            self.left = x.detach().mean((0, 1))
            return super().forward(x)

    model = Blocks([0, 1, 2])
    model.blocks[1] = Halved()
    units = find_units(model, INPUTS)
    assert units.inside_blocks == (3,)
    for between in units.between_blocks:
        verify(model, units, [between], INPUTS)
    with pytest.raises(UserError, match=r"Blocks cannot be cut before unit 3: .* Cut it between blocks"):
        verify(model, units, [3], INPUTS)


def test_dropout_before_a_boundary_inside_a_block_is_drawn_as_in_one_piece() -> None:
    class Dropping(nn.Module):
        """What dropout makes crosses; in evaluation it is the very value that the norm made."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.dropout = nn.LayerNorm(4), nn.Dropout(0.5)
            self.wide, self.narrow = nn.Linear(4, 16), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.dropout(self.norm(x))
            return x + self.narrow(self.wide(x))

    model = Blocks([0, 1])
    model.blocks = nn.ModuleList(Dropping() for _ in range(2))
    units = find_units(model, INPUTS)
    assert units.boundaries[1].at == ("blocks.0.wide", 0)
    stream = Stream(0, 0, 0, torch.device("cpu"))
    with chunk_of(model, units, 0, len(units)) as chunk:
        whole = chunk(INPUTS, [], stream)
    for cut in range(1, len(units)):
        with chunk_of(model, units, 0, cut) as chunk:
            sent = chunk(INPUTS, [], stream)
        with chunk_of(model, units, cut, len(units)) as chunk:
            assert torch.equal(chunk(INPUTS, sent, stream), whole)
