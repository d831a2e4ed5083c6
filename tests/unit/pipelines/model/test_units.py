import pytest
import torch
from torch import nn

from pipelines.errors import UserError
from pipelines.model.units import find_units
from tests.unit.pipelines.one_process import probe, tiny

FAMILIES = {
    "bert": "bert.encoder.layer",
    "roberta": "roberta.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
    "electra": "electra.encoder.layer",
}


@pytest.mark.parametrize(("family", "stack"), FAMILIES.items())
def test_the_units_of_a_model_are_found_without_knowing_it(family: str, stack: str) -> None:
    units = find_units(tiny(family), probe())
    assert [unit.name for unit in units.all] == ["embeddings", f"{stack}.0", f"{stack}.1", f"{stack}.2", "head"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_belongs_to_exactly_one_unit(family: str) -> None:
    model = tiny(family)
    units = find_units(model, probe())
    read = [name for unit in units.all for name in unit.parameters]
    assert sorted(read) == sorted(name for name, _ in model.named_parameters())
    assert sum(unit.size for unit in units.all) == sum(p.numel() for p in model.parameters())
    assert units.parameters(4, 5) == ("classifier.weight", "classifier.bias")


class Blocks(nn.Module):
    """A stack whose blocks run as `order` says; `share` ties the head to the embedding."""

    def __init__(self, order: list[int], *, share: bool = False, answer: object = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Block(answer) for _ in range(3))
        self.order, self.share = order, share

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(input_ids)
        for k in self.order:
            x = self.blocks[k](x)
            x = x[0] if isinstance(x, tuple) else x
        return x @ self.embedding.weight.t() if self.share else x


class Block(nn.Module):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self.linear, self.answer = nn.Linear(4, 4), answer

    def forward(self, x: torch.Tensor) -> object:
        y = self.linear(x)
        return {None: y, tuple: (y,), dict: {"y": y}}[self.answer]


INPUTS = {"input_ids": torch.tensor([[1, 2]])}


def test_a_parameter_that_two_units_read_belongs_to_both() -> None:
    units = find_units(Blocks([0, 1, 2], share=True), INPUTS)
    assert units.all[0].parameters == ("embedding.weight",)
    assert units.all[-1].parameters == ("embedding.weight",)


def test_what_a_block_returns_is_remembered() -> None:
    assert [u.num_outputs for u in find_units(Blocks([0, 1, 2], answer=tuple), INPUTS).all] == [None, 1, 1, 1, None]


@pytest.mark.parametrize("order", [[0, 1, 1, 2], [2, 1, 0], [0, 2]])
def test_blocks_that_do_not_run_once_each_in_order_cannot_be_cut(order: list[int]) -> None:
    with pytest.raises(UserError, match=r"Blocks cannot be cut: none of its module lists .* plan.stages=1"):
        find_units(Blocks(order), INPUTS)


def test_blocks_that_return_something_else_than_tensors_cannot_be_cut() -> None:
    class Dicts(Blocks):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(input_ids)
            for block in self.blocks:
                x = block(x)["y"]
            return x

    with pytest.raises(UserError, match=r"Dicts cannot be cut: its block blocks.0 returns a dict"):
        find_units(Dicts([], answer=dict), INPUTS)


def test_two_stacks_cannot_be_cut_yet() -> None:
    class Two(Blocks):
        def __init__(self) -> None:
            super().__init__([0, 1, 2])
            self.more = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            x = super().forward(input_ids)
            for layer in self.more:
                x = layer(x)
            return x

    with pytest.raises(UserError, match=r"it has 2 stacks of blocks \(blocks, more\)"):
        find_units(Two(), INPUTS)
