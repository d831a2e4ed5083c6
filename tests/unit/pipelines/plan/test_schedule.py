import pytest

from pipelines.errors import UserError
from pipelines.plan.schedule import SCHEDULES, make_schedule


def drawn(name: str, *, num_stages: int, num_micro_batches: int) -> list[str]:
    schedule = make_schedule(name, num_stages=num_stages, num_micro_batches=num_micro_batches)
    return [" ".join(str(action) for action in actions) for actions in schedule]


def test_1f1b_draws_its_triangle() -> None:
    assert drawn("1f1b", num_stages=3, num_micro_batches=4) == [
        "F0 F1 F2 B0 F3 B1 B2 W2 B3 W3 U",
        "F0 F1 B0 F2 B1 F3 B2 B3 W2 W3 U",
        "F0 B0 F1 B1 F2 B2 F3 B3 W2 W3 U",
    ]


def test_1f1b_with_fewer_micro_batches_than_stages_runs_them_all() -> None:
    assert drawn("1f1b", num_stages=4, num_micro_batches=2) == [
        "F0 F1 B0 W0 B1 W1 U",
        "F0 F1 B0 B1 W0 W1 U",
        "F0 F1 B0 B1 W0 W1 U",
        "F0 B0 F1 B1 W0 W1 U",
    ]


def test_eager_1f1b_runs_further_ahead() -> None:
    assert drawn("eager-1f1b", num_stages=2, num_micro_batches=4) == [
        "F0 F1 F2 B0 F3 B1 B2 W2 B3 W3 U",
        "F0 B0 F1 B1 F2 B2 F3 B3 W2 W3 U",
    ]


def test_gpipe_runs_all_forwards_first() -> None:
    assert drawn("gpipe", num_stages=2, num_micro_batches=3) == [
        "F0 F1 F2 B0 B1 W1 B2 W2 U",
        "F0 F1 F2 B0 B1 B2 W1 W2 U",
    ]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("num_stages", [1, 2, 5])
@pytest.mark.parametrize("num_micro_batches", [1, 4, 7])
def test_every_schedule_runs_every_micro_batch_forward_then_backward_once(
    name: str, num_stages: int, num_micro_batches: int
) -> None:
    for line in drawn(name, num_stages=num_stages, num_micro_batches=num_micro_batches):
        actions = line.split()
        assert sorted(a for a in actions if a[0] in "FB") == sorted(
            f"{kind}{i}" for kind in "FB" for i in range(num_micro_batches)
        )
        assert all(actions.index(f"F{i}") < actions.index(f"B{i}") for i in range(num_micro_batches))
        assert actions[-2:] == [f"W{num_micro_batches - 1}", "U"]
        for weights in (a for a in actions if a[0] == "W"):
            assert all(actions.index(f"B{i}") < actions.index(weights) for i in range(int(weights[1:]) + 1))


def test_an_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no schedule 'zigzag' \(plan.schedule\); known: 1f1b, eager-1f1b, gpipe"):
        make_schedule("zigzag", num_stages=1, num_micro_batches=1)
