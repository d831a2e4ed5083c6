"""An evaluation leaves a stage ready to be trained."""

from __future__ import annotations

import math
from typing import Any

from pipelines.config import TrainConfig
from pipelines.model.examples import example_batches, num_targets
from pipelines.model.units import find_units
from pipelines.tasks.own_loss import OwnLoss
from tests.census.catalog import Pair, build
from tests.unit.pipelines.one_process import OneProcess


def test_a_model_that_casts_its_own_parameters_in_an_evaluation_is_trained_afterwards() -> None:
    # Its router casts the classifier's weights in the forward, and keeps them.
    pair = Pair("seq2seq-lm", "switch_transformers", "SwitchTransformersForConditionalGeneration")
    model = build(pair)
    model.config.use_cache = False
    batches = example_batches(model, pair.head)
    units = find_units(model, batches[0])
    run = OneProcess(
        model, cut=[2], train=TrainConfig(), dtype="float64", head=OwnLoss(pair.head), units=units
    )  # fmt: skip
    received: Any = []
    for chunk, stage in enumerate(run.stages):
        received = stage.evaluate(chunk, batches[0], received)
    total = sum(num_targets(batch, pair.head) for batch in batches)
    assert math.isfinite(run.step(0, batches, num_targets=total))
