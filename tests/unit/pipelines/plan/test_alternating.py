from __future__ import annotations

from pipelines.plan.alternating import in_groups, runs
from pipelines.plan.roles import alternates

GPU, CPU, ANY = (True, False), (False, True), (True, True)
# Embeddings, four blocks of attention and feed-forward, head.
COLUMNS = [ANY, GPU, CPU, GPU, CPU, GPU, CPU, GPU, CPU, ANY]
OPEN_TO = list(zip(*COLUMNS, strict=True))
COSTS = [1.0] * 10


def test_runs_take_in_what_may_sit_anywhere() -> None:
    assert runs(OPEN_TO) == [
        (0, 2, GPU), (2, 3, CPU), (3, 4, GPU), (4, 5, CPU), (5, 6, GPU), (6, 7, CPU), (7, 8, GPU), (8, 10, CPU),
    ]  # fmt: skip


def test_one_group_is_one_stage_for_each_choice() -> None:
    assert in_groups(OPEN_TO, COSTS, 1) == ([0, 2, 3, 4, 5, 6, 7, 8, 10], [0, 1] * 4, [GPU, CPU])


def test_groups_of_blocks_have_stages_of_their_own() -> None:
    assert in_groups(OPEN_TO, COSTS, 2) == (
        [0, 2, 3, 4, 5, 6, 7, 8, 10], [0, 1, 0, 1, 2, 3, 2, 3], [GPU, CPU, GPU, CPU]
    )  # fmt: skip


def test_there_are_no_more_groups_than_blocks() -> None:
    assert in_groups(OPEN_TO, COSTS, 5) is None


def test_only_roles_that_come_round_again_alternate() -> None:
    assert alternates(OPEN_TO)
    assert not alternates(list(zip(ANY, GPU, GPU, ANY, CPU, CPU, ANY, strict=True)))
    assert not alternates(list(zip(ANY, ANY, strict=True)))
