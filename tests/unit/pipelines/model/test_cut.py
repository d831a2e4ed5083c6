from itertools import pairwise

import pytest
import torch

from pipelines.model.cut import Chunk
from pipelines.model.load import config_of, fill, skeleton
from pipelines.model.units import find_units
from pipelines.tasks import make_task
from tests.unit.pipelines.model.test_units import INPUTS, Blocks
from tests.unit.pipelines.one_process import probe, tiny

AUTO = make_task("token-classification").auto_class


def chunks(model, cut: list[int]) -> list[Chunk]:
    units = find_units(model, probe())
    weights = model.state_dict()
    made = []
    for first, end in pairwise([0, *cut, len(units)]):
        part = skeleton(config_of(model), auto_class=AUTO, dtype="float32")
        fill(part, {name: weights[name] for name in units.parameters(first, end)})
        made.append(Chunk(part, units, first, end).eval())
    return made


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("cut", [[1], [3], [4], [1, 2, 3, 4]], ids=str)
def test_chunks_one_behind_the_other_answer_as_the_whole_model_does(family: str, cut: list[int]) -> None:
    model = tiny(family).eval()
    crossing: list[torch.Tensor] = []
    for chunk in chunks(model, cut):
        output = chunk(probe(), crossing)
        crossing = output if isinstance(output, list) else []
    assert torch.equal(output.logits, model(**probe()).logits)


def test_a_chunk_holds_its_own_parameters_and_no_others() -> None:
    model = tiny("bert")
    for chunk in chunks(model, [2, 3]):
        units = find_units(model, probe())
        held = {n.removeprefix("model."): p for n, p in chunk.named_parameters()}
        own = set(units.parameters(chunk.first, chunk.end))
        stored = {name for name, p in held.items() if p.untyped_storage().nbytes() == p.numel() * p.element_size()}
        assert own == {name for name, p in held.items() if p.requires_grad}
        # A stand-in stores one value, whatever its shape; one-value parameters aside.
        assert stored - own == {name for name in stored if held[name].numel() == 1}


def test_a_tuple_that_a_block_returns_crosses_the_cut_as_a_tuple() -> None:
    model = Blocks([0, 1, 2], answer=tuple)
    units = find_units(model, INPUTS)
    whole = model(**INPUTS)
    first = Blocks([0, 1, 2], answer=tuple)
    first.load_state_dict(model.state_dict())
    sent = Chunk(first, units, 0, 2)(INPUTS, [])
    assert torch.equal(Chunk(model, units, 2, 5)(INPUTS, sent), whole)


def test_a_chunk_outside_the_model_is_refused() -> None:
    model = tiny("bert")
    with pytest.raises(ValueError, match="units 2 to 2 of 5 are no chunk"):
        Chunk(model, find_units(model, probe()), 2, 2)
