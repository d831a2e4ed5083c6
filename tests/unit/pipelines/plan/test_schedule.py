from __future__ import annotations

import pytest

from pipelines.errors import UserError
from pipelines.plan.actions import Action
from pipelines.plan.pipeline import Memory, Pipeline
from pipelines.plan.schedules import SCHEDULES, make_schedule
from pipelines.plan.simulate import peak_bytes, simulate
from pipelines.plan.weight_parts import weight_parts
from pipelines.train.events import Kind

KINDS: tuple[Kind, ...] = ("forward", "backward", "weights")
SECONDS = {"forward": 2.0, "backward": 4.0, "weights": 0.0, "update": 0.0}
ROW, ROUND, V, HALVES, MIXED = (0, 1, 2, 3), (0, 1, 0, 1), (0, 1, 2, 2, 1, 0), (0, 1, 0, 1, 0, 1, 0), (2, 0, 1, 0, 2)


def drawn(name: str, stage_of: tuple[int, ...], num_micro_batches: int) -> list[str]:
    """`F2` is the forward of micro-batch 2, `F2.1` that of chunk 1 where a stage holds several."""
    several = len(set(stage_of)) < len(stage_of)

    def word(action: Action) -> str:
        return f"{action}.{action.chunk}" if several and action.kind != "update" else str(action)

    return [" ".join(map(word, actions)) for actions in make_schedule(name, Pipeline(stage_of), num_micro_batches)]


def test_gpipe_runs_all_forwards_first() -> None:
    assert drawn("gpipe", (0, 1), 3) == [
        "F0 F1 F2 B0 B1 W0 W1 B2 W2 U",
        "F0 F1 F2 B0 B1 B2 W0 W1 W2 U",
    ]


def test_1f1b_draws_its_triangle() -> None:
    assert drawn("1f1b", (0, 1, 2), 4) == [
        "F0 F1 F2 B0 F3 B1 B2 W1 W2 B3 W3 U",
        "F0 F1 B0 F2 B1 F3 B2 B3 W1 W2 W3 U",
        "F0 B0 F1 B1 F2 B2 F3 B3 W1 W2 W3 U",
    ]


def test_1f1b_with_fewer_micro_batches_than_stages_runs_them_all() -> None:
    assert drawn("1f1b", (0, 1, 2, 3), 2) == [
        "F0 F1 B0 W0 B1 W1 U",
        "F0 F1 B0 B1 W0 W1 U",
        "F0 F1 B0 B1 W0 W1 U",
        "F0 B0 F1 B1 W0 W1 U",
    ]


def test_eager_1f1b_runs_further_ahead() -> None:
    assert drawn("eager-1f1b", (0, 1), 4) == [
        "F0 F1 F2 B0 F3 B1 B2 W1 W2 B3 W3 U",
        "F0 B0 F1 B1 F2 B2 F3 B3 W1 W2 W3 U",
    ]


def test_a_second_round_runs_the_same_again_before_the_update_and_its_numbers_go_on() -> None:
    first, second = make_schedule("1f1b", Pipeline((0, 1)), 2, rounds=2)
    assert " ".join(map(str, first)) == "F0 F1 B0 W0 B1 W1 F2 F3 B2 W2 B3 W3 U"
    assert " ".join(map(str, second)) == "F0 B0 F1 B1 W0 W1 F2 B2 F3 B3 W2 W3 U"


def test_interleaved_1f1b_takes_rounds_of_micro_batches_through_its_chunks() -> None:
    first, second = drawn("interleaved-1f1b", ROUND, 4)
    assert first == (
        "F0.0 F1.0 F0.2 F1.2 F2.0 B0.2 F3.0 B1.2 F2.2 B0.0 F3.2 B1.0 B2.2 B3.2 B2.0 "
        "W1.2 W2.2 W3.2 W1.0 W2.0 B3.0 W3.0 U"
    )
    assert second == (
        "F0.1 F1.1 F0.3 B0.3 F1.3 B1.3 F2.1 B0.1 F3.1 B1.1 F2.3 B2.3 F3.3 B3.3 B2.1 B3.1 "
        "W1.3 W2.3 W3.3 W1.1 W2.1 W3.1 U"
    )


def test_zero_bubble_fills_the_gaps_with_weight_gradients() -> None:
    assert drawn("zero-bubble", ROW, 8) == [
        "F0 F1 F2 F3 B0 F4 B1 F5 B2 F6 B3 F7 B4 W1 B5 W3 B6 W5 B7 W6 W7 U",
        "F0 F1 F2 B0 F3 B1 F4 B2 F5 B3 F6 B4 F7 B5 W1 B6 W3 B7 W5 W6 W7 U",
        "F0 F1 B0 F2 B1 F3 B2 F4 B3 F5 B4 F6 B5 F7 B6 W1 B7 W3 W5 W6 W7 U",
        "F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 F5 B5 F6 B6 F7 B7 W1 W3 W5 W6 W7 U",
    ]


def test_weight_gradients_have_the_same_parts_whatever_the_schedule() -> None:
    assert [weight_parts(m) for m in (1, 2, 3, 4, 8)] == [(0,), (0, 1), (0, 1, 2), (1, 2, 3), (1, 3, 5, 6, 7)]
    assert weight_parts(32) == (1, 5, 9, 13, 17, 21, 25, 29, 30, 31)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stage_of", [(0,), (0, 0), (0, 1), ROW, (2, 1, 0), ROUND, ROW * 2, V, HALVES, MIXED], ids=str)
@pytest.mark.parametrize("num_micro_batches", [1, 3, 4, 7])
def test_every_schedule_keeps_what_results_depend_on(
    name: str, stage_of: tuple[int, ...], num_micro_batches: int
) -> None:
    pipeline, m = Pipeline(stage_of), num_micro_batches
    schedule = make_schedule(name, pipeline, m)
    for actions, chunks in zip(schedule, pipeline.chunks, strict=True):
        assert actions[-1] == Action("update")
        for c in chunks:
            of = {kind: [a.micro_batch for a in actions if (a.kind, a.chunk) == (kind, c)] for kind in KINDS}
            assert of == {"forward": list(range(m)), "backward": list(range(m)), "weights": list(weight_parts(m))}
            for i in range(m):
                assert actions.index(Action("forward", i, c)) < actions.index(Action("backward", i, c))
            for i in of["weights"]:
                assert actions.index(Action("backward", i, c)) < actions.index(Action("weights", i, c))
        assert len(actions) == len(chunks) * (2 * m + len(weight_parts(m))) + 1
    # Forwards before backwards, chunk after chunk: it does not wait for itself, whatever its actions take.
    assert simulate(schedule, pipeline, lambda *_: 1.0).seconds > 0
    assert simulate(make_schedule(name, pipeline, m, rounds=2), pipeline, lambda *_: 1.0).seconds > 0


@pytest.mark.parametrize("name", ["1f1b", "zero-bubble"])
@pytest.mark.parametrize("stage_of", [ROW, ROUND, V, HALVES], ids=str)
def test_1f1b_and_zero_bubble_keep_the_activations_of_no_more_micro_batches_than_stages_to_come(
    name: str, stage_of: tuple[int, ...]
) -> None:
    pipeline = Pipeline(stage_of)
    kept = peak_bytes(make_schedule(name, pipeline, 16), Memory((1,) * len(stage_of), (0,) * len(stage_of)))
    to_come = {ROW: [4, 3, 2, 1], ROUND: [2, 2], V: [3, 3, 3], HALVES: [2, 2]}[stage_of]
    assert all(k <= n * len(chunks) for k, n, chunks in zip(kept, to_come, pipeline.chunks, strict=True))


def test_zero_bubble_holds_no_more_than_1f1b_anywhere() -> None:
    memory = Memory((3,) * 4, (2,) * 4)
    peaks = {name: peak_bytes(make_schedule(name, Pipeline(ROW), 16), memory) for name in ("1f1b", "zero-bubble")}
    assert all(zero <= one for zero, one in zip(peaks["zero-bubble"], peaks["1f1b"], strict=True))


def test_interleaved_1f1b_keeps_the_activations_of_the_formula() -> None:
    schedule = make_schedule("interleaved-1f1b", Pipeline(ROW * 2), 16)
    assert peak_bytes(schedule, Memory((1,) * 8, (0,) * 8)) == (11, 9, 7, 5)


def test_interleaved_1f1b_halves_the_bubble_of_1f1b_with_two_chunks_a_stage() -> None:
    whole, halves = (Pipeline(stage_of) for stage_of in (ROW, ROW * 2))
    one = simulate(make_schedule("1f1b", whole, 8), whole, lambda _, a: SECONDS[a.kind])
    other = simulate(make_schedule("interleaved-1f1b", halves, 8), halves, lambda _, a: SECONDS[a.kind] / 2)
    assert one.seconds - 8 * 6 == 18
    assert other.seconds - 8 * 6 == 9


def test_an_irregular_placement_is_not_slower_interleaved_than_with_1f1b() -> None:
    for stage_of, m in ((HALVES, 8), (V, 7), (MIXED, 6), (ROUND, 5)):
        interleaved, plain = (
            simulate(make_schedule(name, Pipeline(stage_of), m), Pipeline(stage_of), lambda _, a: SECONDS[a.kind])
            for name in ("interleaved-1f1b", "1f1b")
        )
        assert interleaved.seconds <= plain.seconds


def test_an_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UserError,
        match=r"no schedule 'zigzag' \(plan.schedule\); known: gpipe, 1f1b, eager-1f1b, interleaved-1f1b, ",
    ):
        make_schedule("zigzag", Pipeline((0,)), 1)
