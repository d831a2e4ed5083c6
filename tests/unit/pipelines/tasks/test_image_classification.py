"""What images cost, and that all in a micro-batch are of one size."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.data.examples import Picture
from pipelines.errors import UserError
from pipelines.model.load import load_model
from pipelines.tasks import make_task
from tests.tiny import write_model
from tests.tiny_media import pixels, write_vit

TASK = make_task("image-classification")


def test_an_image_is_brought_to_the_models_size_and_costs_its_squares(tmp_path: Path) -> None:
    processor = TASK.load_processor(str(write_vit(tmp_path / "model")))
    rows = TASK.encode([Picture(pixels(0, 50), "b", "row 1")], processor, ["a", "b"], 8)
    assert rows[0].columns["pixel_values"].shape == (3, 16, 16)
    assert rows[0].columns["pixel_values"].dtype == np.float32
    assert (rows[0].columns["labels"].tolist(), rows[0].length, rows[0].num_targets) == ([1], 1, 1)
    processor.size = {"height": 40, "width": 30}
    assert TASK.encode([Picture(pixels(0, 50), "b", "row 1")], processor, ["a", "b"], 8)[0].length == 5


def test_images_of_several_sizes_cannot_be_in_one_micro_batch(tmp_path: Path) -> None:
    processor = TASK.load_processor(str(write_vit(tmp_path / "model")))
    processor.do_resize = False
    rows = [Picture(pixels(0, side), "a", f"row {side}") for side in (16, 17)]
    with pytest.raises(UserError, match=r"row 17: .* makes \[3, 17, 17\] of this image and \[3, 16, 16\] of others"):
        TASK.encode(rows, processor, ["a"], 512)


def test_a_head_for_other_classes_makes_room_for_a_new_one(tmp_path: Path) -> None:
    folder = str(write_vit(tmp_path / "model", classes=1000))
    options = TASK.model_options(["a", "b"])
    model = load_model(folder, auto_class=TASK.auto_class, dtype="float32", seed=0, **options)
    assert model.classifier.weight.shape == (2, 32)


def test_a_model_without_an_image_processor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The image processor of .* cannot be loaded"):
        TASK.load_processor(str(write_model(tmp_path / "model")))
