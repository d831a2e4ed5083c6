"""What planner and simulator read of a measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.plan.measured import Shape, UnitCosts, costs_of, shapes_to_measure
from pipelines.plan.problem import make_problem
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, MEASURED, SMALL


def test_a_shape_that_was_measured_is_as_it_was_measured() -> None:
    assert MEASURED.times_at("fast", LARGE) == FAST.times[1]


def test_a_shape_between_two_takes_what_lies_between_them() -> None:
    found = MEASURED.times_at("fast", Shape(6, 8))
    assert found.forward == pytest.approx((0.0015, 0.006, 0.003))
    assert found.stage_forward == pytest.approx(0.001)
    assert found.kept == (100, 4000, 2000)


def test_of_one_shape_times_and_bytes_go_by_tokens() -> None:
    found = MEASURED.times_at("slow", Shape(8, 8))
    assert found.forward == pytest.approx((0.006, 0.024, 0.012))
    assert (found.kept, found.crossing) == ((200, 8000, 4000), ((2048, 0), (2048, 2048)))


def test_an_unknown_type_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown type of device 'tpu': choose one of fast, slow"):
        MEASURED.times_at("tpu", SMALL)


def test_the_way_between_two_types_is_found_from_either_end() -> None:
    assert MEASURED.link("slow", "fast").latency == 0.001
    assert [MEASURED.link("slow", "slow", same_node=same).bandwidth for same in (True, False)] == [1e9, 1e8]


def test_the_other_way_stands_in_for_one_that_was_not_measured() -> None:
    assert MEASURED.link("fast", "fast", same_node=False).same_node
    with pytest.raises(ValueError, match="the way between fast and tpu"):
        MEASURED.link("fast", "tpu")


def test_a_chunk_costs_its_units_and_one_pass() -> None:
    assert costs_of(MEASURED, "fast", SMALL, 1, 3) == UnitCosts(
        forward=pytest.approx(0.007),
        backward=pytest.approx(0.011),
        weights=pytest.approx(0.005),
        update=pytest.approx(0.003),
        held=16800,
        kept=6000,
        noted=1500,
    )


def test_shapes_at_the_corners_and_one_in_the_middle_are_measured() -> None:
    shapes = [Shape(4, 8 * n) for n in (5, 1, 3, 2, 4, 2)]
    assert shapes_to_measure(shapes) == (Shape(4, 8), Shape(4, 24), Shape(4, 40))
    assert shapes_to_measure(shapes[:1]) == (Shape(4, 40),)
    # 128 tokens narrow and wide, 160 and 96 tokens, and one between.
    corners = [Shape(16, 8), Shape(4, 32), Shape(10, 16), Shape(6, 16), Shape(9, 14), Shape(8, 15)]
    assert shapes_to_measure(corners) == (Shape(6, 16), Shape(9, 14), Shape(16, 8), Shape(4, 32), Shape(10, 16))


def test_batches_in_many_and_in_few_pieces_are_measured_narrow_with_many_rows_and_wide_with_few() -> None:
    shapes = [Shape(rows, width) for rows in (1, 2, 4, 8, 16) for width in (8, 16, 32)]
    chosen = (Shape(1, 8), Shape(1, 32), Shape(4, 16), Shape(16, 8), Shape(16, 32))
    assert shapes_to_measure(shapes) == chosen


def test_the_problem_has_the_rows_of_the_types_that_are_there() -> None:
    problem = make_problem(MEASURED, ["slow", "fast"], [4, 1], SMALL, num_micro_batches=8)
    assert (problem.types, problem.count, problem.memory) == (("slow", "fast"), (4, 1), (2**31, 2**30))
    assert problem.forward[1] == (0.001, 0.004, 0.002)
    assert problem.fixed == pytest.approx((0.003, 0.003))
    assert problem.held == ((4000, 16000, 800),) * 2
    assert problem.crossing == ((1024, 0), (1024, 1024))
    # Between two slow devices the way from node to node counts.
    assert problem.latency == ((0.002, 0.001), (0.001, 0.0001))
    assert problem.per_byte[0] == pytest.approx((1e-8, 1e-8))
    assert problem.may_cut == (True, True)
    assert problem.allowed == ((True,) * 3,) * 2


def test_roles_and_places_to_cut_go_through_to_the_problem() -> None:
    problem = make_problem(
        MEASURED, ["fast"], [2], SMALL, num_micro_batches=8, allowed=[[True, True, False]], may_cut=[True, False]
    )
    assert (problem.allowed, problem.may_cut) == (((True, True, False),), (True, False))


def test_a_type_of_which_nothing_was_measured_makes_no_problem() -> None:
    with pytest.raises(ValueError, match="choose one of slow"):
        make_problem(replace(MEASURED, types=MEASURED.types[1:]), ["fast"], [1], SMALL, num_micro_batches=1)
