"""What a population may vary."""

import pytest

from pipelines.config import from_overrides
from pipelines.errors import UserError
from pipelines.search.population import check_population
from pipelines.search.space import held_within, parse_space

RATE = ["train.learning_rate=1e-5..1e-3"]


def test_what_may_change_in_the_middle_of_a_run_can_be_searched() -> None:
    written = [*RATE, "train.weight_decay=0,0.01", "train.clip=1,null", "train.label_smoothing=0.0..0.2"]
    check_population(from_overrides(["train.epochs=4"]), parse_space(written), every=3)


@pytest.mark.parametrize(
    ("overrides", "searched", "every", "message"),
    [
        ([], ["train.batch_size=8,16"], 1, r"train\.batch_size cannot change in the middle of a run.*--by random"),
        ([], ["plan.stages=1,2"], 1, r"plan\.stages cannot change in the middle of a run"),
        (["train.epochs=3"], RATE, 3, r"compared every 3 epochs is never compared in a run of 3: .*lower --every"),
        (["train.patience=2"], RATE, 1, r"With train\.patience a run goes back .*Leave train\.patience out"),
    ],
)
def test_what_a_population_cannot_do_is_told(
    overrides: list[str], searched: list[str], every: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_population(from_overrides(overrides), parse_space(searched), every)


def test_a_number_that_has_grown_out_of_its_range_is_held_at_the_end() -> None:
    space = parse_space([*RATE, "train.clip=1,null", "train.weight_decay=0..2"])
    grown = {"train.learning_rate": 1.2e-3, "train.clip": None, "train.weight_decay": 3}
    assert held_within(space, grown) == {"train.learning_rate": 1e-3, "train.clip": None, "train.weight_decay": 2}
    assert held_within(space, {"train.learning_rate": 8e-6}) == {"train.learning_rate": 1e-5}
