"""What is told before anything is started."""

import pytest

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.preflight import preflight


def test_an_output_folder_that_no_folder_could_be_named_is_refused() -> None:
    config = Config.model_validate({"run": {"output": "a" * 300}})
    with pytest.raises(UserError, match=r"The output folder .* cannot be .*Choose another run\.output"):
        preflight(config)


def test_a_folder_for_what_is_larger_than_memory_is_refused_where_memory_has_no_limit() -> None:
    with pytest.raises(UserError, match=r"data\.scratch says where .* data\.memory, which is not set"):
        preflight(Config.model_validate({"data": {"train": "a.conll", "scratch": "/tmp"}}))


@pytest.mark.parametrize(
    "held",
    [
        {"data": {"replay": {"sets": ["a"]}}},
        {"train": {"task": "sequence-classification", "distil": {"teacher": "a"}}},
    ],
)
def test_what_a_data_shard_would_hold_beside_bounded_rows_is_refused(held: dict[str, dict[str, object]]) -> None:
    data = {"train": "a.conll", "memory": "64MB"} | held.get("data", {})
    with pytest.raises(UserError, match=r"data\.memory bounds what a data shard holds, and \w+\.\w+ would make it"):
        preflight(Config.model_validate(held | {"data": data}))


def test_label_smoothing_is_refused_where_a_target_is_no_class() -> None:
    config = Config.model_validate({"train": {"task": "regression", "label_smoothing": 0.1}})
    with pytest.raises(UserError, match=r"a target of regression is no class\. Remove it"):
        preflight(config)
