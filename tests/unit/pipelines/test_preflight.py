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


def test_label_smoothing_is_refused_where_a_target_is_no_class() -> None:
    config = Config.model_validate({"train": {"task": "regression", "label_smoothing": 0.1}})
    with pytest.raises(UserError, match=r"a target of regression is no class\. Remove it"):
        preflight(config)
