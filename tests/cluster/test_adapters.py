"""Adapters on real actors: trained over stages, resumed on other stages, saved whole, merged, and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipelines.adapt.bottleneck import load_bottleneck
from pipelines.config import Config
from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from tests.cluster.test_training import run as train
from tests.cluster.watcher import Watcher
from tests.tiny import write_data, write_model

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_session")]

ADALORA = {"init_r": 4, "target_r": 2, "tinit": 3, "tfinal": 6, "deltaT": 2}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "use_dora": True, "target_modules": "all-linear"},
    "adalora": ADALORA,
    "prompt-tuning": {"num_virtual_tokens": 4},
    "bottleneck": {"reduction": 4},
}
TEXTS = ["Ann lives in New York .", "Bob Lee left Cape Town for Bern ."]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("given")
    return {"model": str(write_model(folder / "model")), "data": str(write_data(folder / "data"))}


def run(
    given: dict[str, str], folder: Path, method: str, *, stages: int, resume: Path | None = None, every: int = 20
) -> Watcher:
    settings = Config.model_validate(
        {
            "model": given["model"],
            "data": {"path": given["data"], "shards": 1},
            "adapter": {"method": method, "options": METHODS[method]},
            "train": {"batch_size": 8, "epochs": 4, "max_steps": 20, "learning_rate": 1e-2},
            "plan": {"stages": stages, "cpus_per_stage": 0.25, "timeout": 60},
            "checkpoint": {"resume": "never" if resume is None else str(resume), "every_steps": every, "keep": 9},
        }
    )
    return train(settings, folder)


@pytest.fixture(scope="module")
def adalora(given: dict[str, str], tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[Path, Watcher]:  # noqa: ARG001
    """A run of three stages, with the checkpoints on its way."""
    folder = tmp_path_factory.mktemp("adalora")
    return folder, run(given, folder, "adalora", stages=3, every=8)


def answers(model: Any) -> torch.Tensor:
    ids = torch.tensor([[2, 8, 9, 30, 3], [2, 12, 7, 3, 0]])
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids, attention_mask=(ids != 0).long()).logits
    return found


@pytest.mark.parametrize("method", METHODS)
def test_the_saved_adapter_is_whole_and_loads_onto_the_model_it_came_from(
    given: dict[str, str], adalora: tuple[Path, Watcher], tmp_path: Path, method: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForTokenClassification

    if method == "adalora":
        cut, watcher = adalora
    else:
        cut = tmp_path / "cut"
        watcher = run(given, cut, method, stages=2)
    assert watcher.steps[-1].loss < watcher.steps[0].loss

    def load(base: Any, folder: Path) -> Any:
        return load_bottleneck(base, folder) if method == "bottleneck" else PeftModel.from_pretrained(base, str(folder))

    base = AutoModelForTokenClassification.from_pretrained(given["model"], num_labels=5)
    loaded = load(base, cut / "adapter")
    if "tuning" in method or method == "bottleneck":
        plain = AutoModelForTokenClassification.from_pretrained(cut / "model")
        whole = load(plain, cut / "model" / "adapter")
    else:
        whole = AutoModelForTokenClassification.from_pretrained(cut / "model")
        assert not (cut / "model" / "adapter").exists()
    expected = answers(whole)
    assert (answers(loaded) - expected).abs().max() <= 1e-5 * expected.abs().max()
    found = EntityPredictor.load(cut / "model", threads=1).predict([Text(text) for text in TEXTS])
    assert len(found) == len(TEXTS)


def test_adalora_goes_on_from_a_checkpoint_of_three_stages_with_one_and_two_as_if_nothing_had_happened(
    given: dict[str, str], adalora: tuple[Path, Watcher], tmp_path: Path
) -> None:
    whole = load_file(adalora[0] / "adapter" / "adapter_model.safetensors")
    # Once while the budget shrinks, once when the ranks are settled.
    for step, stages in ((8, 1), (16, 2)):
        then = tmp_path / f"from-{step}"
        start = adalora[0] / "checkpoints" / f"step-{step:08d}"
        watcher = run(given, then, "adalora", stages=stages, resume=start)
        assert watcher.steps[0].step == step + 1
        found = load_file(then / "adapter" / "adapter_model.safetensors")
        assert found.keys() == whole.keys()
        assert [key for key in whole if not torch.equal(found[key], whole[key])] == []
