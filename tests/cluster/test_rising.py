"""A learning rate is found by a run whose rate rises."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.rising import find_rate
from pipelines.config import from_overrides
from pipelines.errors import UserError
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]


def test_the_loss_of_every_rate_is_seen_and_nothing_is_left(tmp_path: Path) -> None:
    write_data(tmp_path / "data", train=32, dev=4, test=4)
    write_model(tmp_path / "model", layers=1)
    config = from_overrides(
        [
            f"data.path={tmp_path}/data", "data.shards=1", f"model={tmp_path}/model", "plan.stages=1",
            "plan.cpus_per_stage=0.5", "train.batch_size=8",
        ]
    )  # fmt: skip
    told: list[str] = []
    found = find_rate(config, most=0.1, steps=40, tell=told.append)
    assert 10 <= len(found.rates) <= 40
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.lowest > found.rates[0]
    assert told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model"]


def test_a_run_that_cannot_begin_says_why(tmp_path: Path) -> None:
    config = from_overrides([f"data.path={tmp_path}/none", f"model={tmp_path}/none", "plan.stages=1"])
    with pytest.raises(UserError, match=r"ended after 0 steps, and 10 are needed\. It said: .*none"):
        find_rate(config, most=0.1, steps=40, tell=print)
