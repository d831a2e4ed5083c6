"""What recordings cost, where they are cut, and that models of sound can be cut."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.data.examples import Sound
from pipelines.data.pack import merge, pack
from pipelines.errors import UserError
from pipelines.model.load import load_model, without_augmentation
from pipelines.model.units import find_units
from pipelines.model.verify import verify
from pipelines.tasks import make_task
from tests.tiny_media import recording, write_ast, write_vit, write_wav2vec2

TASK = make_task("audio-classification")


def test_a_recording_costs_fiftieths_of_a_second_and_is_cut_by_them(tmp_path: Path) -> None:
    processor = TASK.load_processor(str(write_wav2vec2(tmp_path / "model")))
    rows = TASK.encode([Sound(recording(0, n), "b", "row 1") for n in (6401, 6400, 800)], processor, ["a", "b"], 10)
    assert [(row.length, row.num_cut, len(row.columns["input_values"])) for row in rows] == [
        (10, 11, 3200),
        (10, 10, 3200),
        (3, 0, 800),
    ]
    batch = merge([pack(rows, [0, 1, 2])], TASK.padding(processor))
    assert batch["attention_mask"].sum(1).tolist() == [3200, 3200, 800]
    assert batch["labels"].tolist() == [[1], [1], [1]]


def test_what_the_extractor_would_leave_out_is_counted(tmp_path: Path) -> None:
    processor = TASK.load_processor(str(write_ast(tmp_path / "model")))
    # 64 frames of a hundredth of a second are 10,240 samples: 3,200 are behind them.
    (row,) = TASK.encode([Sound(recording(0, 13_440), "a", "row 1")], processor, ["a"], 512)
    assert (row.columns["input_values"].shape, row.num_cut) == ((64, 16), 10)


def test_a_spectrogram_transformer_is_cut_like_any_model(tmp_path: Path) -> None:
    folder = str(write_ast(tmp_path / "model"))
    options = TASK.model_options(["a", "b"])
    model = load_model(folder, auto_class=TASK.auto_class, dtype="float32", seed=0, **options)
    probe = TASK.probe(TASK.load_processor(folder))
    units = find_units(model, probe)
    assert len(units) >= 4
    verify(model, units, [1, len(units) - 1], probe)


def test_what_numpy_would_hide_of_a_recording_is_left_there(tmp_path: Path) -> None:
    folder = str(write_wav2vec2(tmp_path / "model"))
    model = load_model(folder, auto_class=TASK.auto_class, dtype="float32", seed=0, apply_spec_augment=True)
    assert model.config.apply_spec_augment
    assert len(without_augmentation(model)) == 1
    assert not model.config.apply_spec_augment


def test_two_probes_are_of_unlike_lengths(tmp_path: Path) -> None:
    probe = TASK.probe(TASK.load_processor(str(write_wav2vec2(tmp_path / "model"))))
    assert probe["attention_mask"].sum(1).tolist() == [4000, 3200]
    assert probe["input_values"].numpy().dtype == np.float32


def test_a_model_that_hears_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"takes no sound|cannot be loaded"):
        TASK.load_processor(str(write_vit(tmp_path / "model")))
