"""What cannot be served cut is refused before any actor is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.cut_model import cut
from pipelines.compress.graph import export
from pipelines.errors import UserError
from pipelines.inference.predictors import load_predictor
from pipelines.plan_settings import PlanConfig
from pipelines.tasks import make_task
from tests.unit.pipelines.inference.test_every_predictor import saved

pytestmark = pytest.mark.timeout(120)


def as_graph(folder: Path) -> Path:
    export(folder, folder.with_name("graph"))
    return folder.with_name("graph")


def as_it_is(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("made", "stages", "why"),
    [
        (as_graph, 2, "cannot be cut: leave its plan out"),
        (as_it_is, 999, "has only"),
    ],
)
def test_it_says_why(made: Callable[[Path], Path], stages: int, why: str, tmp_path: Path) -> None:
    folder = made(saved("token-classification", tmp_path))
    with pytest.raises(UserError, match=why):
        cut(
            load_predictor(folder, threads=1).network, make_task("token-classification"), str(folder),
            PlanConfig(stages=stages),
        )  # fmt: skip
