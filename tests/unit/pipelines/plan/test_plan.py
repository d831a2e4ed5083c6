"""Where the stages of a plan begin."""

from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.model.units import find_units, one_unit
from pipelines.plan.plan import inside_blocks, make_plan
from pipelines.plan_settings import PlanConfig
from tests.unit.pipelines.model.test_units import INPUTS, Blocks
from tests.unit.pipelines.one_process import probe, tiny

# embeddings, three blocks of two halves each, head
UNITS = find_units(tiny("bert"), probe())


def bounds(stages: int, cut: tuple[int, ...] | None = None) -> list[int]:
    return make_plan(UNITS, PlanConfig(stages=stages, cut=cut)).replicas[0].bounds


def test_stages_begin_at_whole_blocks_while_there_are_enough_of_them() -> None:
    assert [bounds(stages) for stages in (1, 3, 5)] == [[0, 8], [0, 3, 5, 8], [0, 1, 3, 5, 7, 8]]


def test_more_stages_than_whole_blocks_begin_inside_blocks_too() -> None:
    assert bounds(8) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert len(bounds(6)) == 7


def test_a_cut_by_number_may_lie_inside_a_block() -> None:
    plan = make_plan(UNITS, PlanConfig(stages=2, cut=(4,)))
    # A block that is all on one stage goes by its own name.
    assert [stage.units for stage in plan.stages] == [
        ("embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1 (up to attention)"),
        ("bert.encoder.layer.1 (behind attention)", "bert.encoder.layer.2", "head"),
    ]


def test_a_cut_inside_blocks_only_balances_what_lies_between() -> None:
    assert inside_blocks(UNITS, 2) == (4,)
    assert inside_blocks(UNITS, 4) == (2, 4, 6)


@pytest.mark.parametrize("stages", [1, 5])
def test_another_number_of_stages_than_the_divided_blocks_allow_is_refused(stages: int) -> None:
    with pytest.raises(UserError, match=f"3 of this model's blocks can be divided, which makes 2 to 4 .* not {stages}"):
        inside_blocks(UNITS, stages)


def test_a_model_whose_blocks_stay_whole_is_not_cut_inside_them_and_the_reason_is_told() -> None:
    with pytest.raises(UserError, match=r"No block of this model .* blocks.0: no call inside it leaves"):
        inside_blocks(find_units(Blocks([0, 1, 2]), INPUTS), 2)
    with pytest.raises(UserError, match=r"No block of this model can be divided\. Cut it between blocks"):
        inside_blocks(one_unit(tiny("bert")), 2)
