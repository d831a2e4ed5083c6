"""Units and what crosses between them, found without knowing the architecture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.errors import UserError
from pipelines.model.crossing import Leaf
from pipelines.model.units import Units, find_units
from tests.unit.pipelines.one_process import probe, tiny

FAMILIES = {
    "bert": ("bert.encoder.layer", "attention"),
    "roberta": ("roberta.encoder.layer", "attention"),
    "distilbert": ("distilbert.transformer.layer", "sa_layer_norm"),
    "electra": ("electra.encoder.layer", "attention"),
    "llama": ("model.layers", "self_attn"),
    "gpt2": ("transformer.h", "attn"),
}
HEADS = {"llama": "score"}
INPUTS = {"input_ids": torch.tensor([[1, 2]])}


@pytest.mark.parametrize(("family", "where"), FAMILIES.items())
def test_the_units_of_a_model_are_found_without_knowing_it(family: str, where: tuple[str, str]) -> None:
    units = find_units(tiny(family), probe())
    stack, middle = where
    halves = [f"{stack}.{n} ({side} {middle})" for n in range(3) for side in ("up to", "behind")]
    assert [unit.name for unit in units.all] == ["embeddings", *halves, "head"]
    assert units.between_blocks == (1, 3, 5, 7)
    assert units.inside_blocks == (2, 4, 6)
    assert units.undivided == {}


def test_one_value_crosses_inside_a_block_whose_norm_follows_its_residual_connection_and_else_two() -> None:
    assert crossing(find_units(tiny("bert"), probe()))[3] == ["bert.encoder.layer.1.attention"]
    # The block's input, which its residual connection wants, and what attention made of it.
    assert crossing(find_units(tiny("llama"), probe()))[3] == ["model.layers.0", "model.layers.1.self_attn"]
    # In the first block that input comes from the embeddings.
    assert crossing(find_units(tiny("gpt2"), probe()))[1] == ["transformer.h.0", "transformer.h.0.attn"]
    assert find_units(tiny("gpt2"), probe()).boundaries[1].leaves[0].given


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_belongs_to_exactly_one_unit(family: str) -> None:
    model = tiny(family)
    units = find_units(model, probe())
    read = [name for unit in units.all for name in unit.parameters]
    assert sorted(read) == sorted(name for name, _ in model.named_parameters())
    assert sum(unit.size for unit in units.all) == sum(p.numel() for p in model.parameters())
    assert [n.rpartition(".")[0] for n in units.parameters(7, 8)][-2:] == [HEADS.get(family, "classifier")] * 2


class Block(nn.Module):
    """A residual block that answers as `answer` says."""

    def __init__(self, answer: type | None = None) -> None:
        super().__init__()
        self.linear, self.answer = nn.Linear(4, 4), answer

    def forward(self, x: torch.Tensor) -> object:
        y = x + self.linear(x)
        return {None: y, tuple: (y,), dict: {"y": y}}[self.answer]


class Blocks(nn.Module):
    """A stack whose blocks run as `order` says; `share` ties the head to the embedding."""

    def __init__(self, order: list[int], *, share: bool = False, answer: type | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Block(answer) for _ in range(3))
        self.order, self.share = order, share

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(input_ids)
        for k in self.order:
            x = self.blocks[k](x)
            x = x if isinstance(x, torch.Tensor) else next(iter(x.values() if isinstance(x, dict) else x))
        return x @ self.embedding.weight.t() if self.share else x


def crossing(units: Units) -> list[list[str]]:
    """For each boundary what crosses it, as `module` or `module[leaf]`; shapes in brackets."""
    return [[_shown(leaf) for leaf in boundary.leaves] for boundary in units.boundaries]


def _shown(leaf: Leaf) -> str:
    text = leaf.call[0] + (f"#{leaf.call[1] + 1}" if leaf.call[1] else "") + (f"[{leaf.index}]" if leaf.index else "")
    return f"({text})" if leaf.shape_only else text


@pytest.mark.parametrize("answer", [None, tuple, dict])
def test_the_last_output_crosses_each_boundary_whatever_its_structure(answer: type | None) -> None:
    units = find_units(Blocks([0, 1, 2], answer=answer), INPUTS)
    # Before the first block its argument crosses, behind each block its output.
    assert crossing(units) == [["blocks.0"], ["blocks.0"], ["blocks.1"], ["blocks.2"]]
    assert [boundary.at_entry for boundary in units.boundaries] == [True, False, False, False]
    assert [boundary.skipped for boundary in units.boundaries][2] == (("blocks.0", 0), ("blocks.1", 0))


def test_a_parameter_that_two_units_lead_to_belongs_to_both() -> None:
    units = find_units(Blocks([0, 1, 2], share=True), INPUTS)
    assert units.all[0].parameters == ("embedding.weight",)
    assert units.all[-1].parameters == ("embedding.weight",)


def test_blocks_run_in_any_order_and_more_than_once() -> None:
    units = find_units(Blocks([2, 0, 0, 1]), INPUTS)
    assert [unit.name for unit in units.all][1:-1] == ["blocks.2", "blocks.0", "blocks.0#2", "blocks.1"]
    assert units.all[2].parameters == units.all[3].parameters


class TwoStacks(nn.Module):
    """An encoder whose output, behind a norm, every block of a decoder reads."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.ModuleList(Reader() for _ in range(2))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        memory = self.encoder(input_ids)
        x = memory.new_ones(memory.shape)
        for block in self.decoder:
            x = block(x, memory)
        return x


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return x + self.linear(memory)


def test_an_encoders_output_crosses_every_boundary_of_the_decoder_and_its_norm_stays_with_its_last_block() -> None:
    units = find_units(TwoStacks(), INPUTS)
    assert crossing(units)[1:] == [
        ["encoder.blocks.0"],
        ["encoder"],
        ["encoder", "decoder.0"],
        ["decoder.1"],
    ]
    assert units.all[2].parameters == (
        "encoder.blocks.1.linear.weight",
        "encoder.blocks.1.linear.bias",
        "encoder.norm.weight",
        "encoder.norm.bias",
    )


class Experts(nn.Module):
    """Blocks whose routers' logits a loss collects by a hook, and with an expert that no input reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(Routed() for _ in range(2))
        self.collected: list[torch.Tensor] = []
        for block in self.blocks:
            block.router.register_forward_hook(lambda _, __, logits: self.collected.append(logits))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        self.collected = []
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x)
        return x.sum() + torch.stack(self.collected).square().sum()


class Routed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 2)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.experts[0](x) * self.router(x).softmax(-1)[..., :1]


def test_a_routers_logits_that_the_loss_collects_cross_too_and_an_unused_expert_stays_with_its_block() -> None:
    units = find_units(Experts(), INPUTS)
    # An expert may be passed by: no block is divided behind one.
    assert units.inside_blocks == ()
    assert crossing(units)[1:] == [
        ["blocks.0", "blocks.0.router"],
        ["blocks.0.router", "blocks.1", "blocks.1.router"],
    ]
    assert "blocks.0.experts.1.weight" in units.all[1].parameters
    assert units.boundaries[2].asides == {
        ("blocks.0", 0): (("blocks.0.router", 0),),
        ("blocks.1", 0): (("blocks.1.router", 0),),
    }


def test_what_one_block_leaves_on_the_side_for_another_cannot_be_crossed() -> None:
    class Peeking(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.side = x * self.linear.weight.sum()
            return x + self.linear(x)

    model = Blocks([0, 1, 2])
    model.blocks = nn.ModuleList(Peeking() for _ in range(3))
    plain = model.forward
    model.forward = lambda input_ids: plain(input_ids) + model.blocks[0].side  # type: ignore[method-assign]
    units = find_units(model, INPUTS)
    # Only before the first block: behind it, its side effect would be missing.
    assert [boundary.at_entry for boundary in units.boundaries] == [True]


def test_a_model_without_lists_of_blocks_cannot_be_cut() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.embedding(input_ids)

    with pytest.raises(UserError, match=r"Flat cannot be cut: none of its module lists .* plan.stages=1"):
        find_units(Flat(), INPUTS)


class Halves(nn.Module):
    """A block of two modules of which `first` may hand on what it got, and which may share a scale."""

    def __init__(self, *, share: bool = False, small: bool = False) -> None:
        super().__init__()
        self.norm, self.first = nn.Identity(), nn.Linear(4, 4)
        self.second = nn.Linear(4, 4, bias=False) if not small else nn.LayerNorm(1)
        self.scale, self.share = nn.Parameter(torch.ones(4)), share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.first(self.norm(x) * self.scale)
        return x + self.second(x * self.scale if self.share else x) if self.second.weight.ndim > 1 else x


def halved(**options: bool) -> Units:
    model = Blocks([0, 1])
    model.blocks = nn.ModuleList(Halves(**options) for _ in range(2))
    return find_units(model, INPUTS)


def test_a_value_that_a_module_inside_a_block_only_handed_on_is_sent_once_and_put_in_both_places() -> None:
    units = halved()
    assert crossing(units)[1] == ["blocks.0", "blocks.0.first"]
    given = Leaf(("blocks.0", 0), 0, given=True)
    assert units.boundaries[1].same == {Leaf(("blocks.0.norm", 0), 0): given}
    assert units.all[1].parameters == ("blocks.0.scale", "blocks.0.first.weight", "blocks.0.first.bias")
    assert units.all[2].parameters == ("blocks.0.second.weight",)


def test_a_block_whose_halves_share_a_parameter_stays_one_unit_and_the_reason_is_kept() -> None:
    units = halved(share=True)
    assert [unit.name for unit in units.all] == ["embeddings", "blocks.0", "blocks.1", "head"]
    assert units.undivided["blocks.1"] == "behind blocks.1.first both halves need blocks.1.scale"


def test_a_block_without_two_fair_halves_stays_one_unit() -> None:
    units = halved(small=True)
    assert units.inside_blocks == ()
    assert units.undivided["blocks.0"] == "no call inside it leaves each half a tenth of its parameters"
