"""A head that no pretrained weights are for is trained whole, beside the adapter."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipelines.adapt.attach import attach
from pipelines.adapt.methods import adapter_config
from pipelines.adapter_settings import AdapterConfig
from pipelines.model.load import load_model
from pipelines.tasks import make_task
from tests.tiny import write_model
from tests.tiny_media import write_ast, write_vit, write_wav2vec2

HEADS = ("classifier.", "projector.", "qa_outputs.")


@pytest.mark.parametrize(
    ("task", "write"),
    [
        ("multi-label-classification", write_model),
        ("regression", write_model),
        ("question-answering", write_model),
        ("image-classification", write_vit),
        ("audio-classification", write_wav2vec2),
        ("audio-classification", write_ast),
    ],
)
def test_every_new_head_is_trained_whole_beside_lora(tmp_path: Path, task: str, write: Callable[[Path], Path]) -> None:
    head = make_task(task)
    folder, options = str(write(tmp_path / "model")), head.model_options(["a", "b"])
    model = load_model(folder, auto_class=head.auto_class, dtype="float32", seed=0, **options)
    new = {name for name, _ in model.named_parameters() if name.startswith(HEADS)}
    assert new
    adapted = attach(model, adapter_config(AdapterConfig(method="lora"), task), seed=0)
    trained = {name for name, p in adapted.model.named_parameters() if p.requires_grad}
    assert {name.replace("modules_to_save.default.", "") for name in trained if name.startswith(HEADS)} == new
    assert any("lora_A" in name for name in trained)


def test_a_model_of_images_is_whole_again_without_its_adapter(tmp_path: Path) -> None:
    task = make_task("image-classification")
    folder, options = str(write_vit(tmp_path / "model")), task.model_options(["a", "b"])
    model = load_model(folder, auto_class=task.auto_class, dtype="float32", seed=0, **options)
    probe = task.probe(task.load_processor(folder))
    adapted = attach(model, adapter_config(AdapterConfig(method="lora"), "image-classification"), seed=0)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
        before = adapted.model.eval()(**probe).logits
        adapted.save(tmp_path / "adapter", {})
        after = adapted.plain().eval()(**probe).logits
    assert torch.allclose(before, after, atol=1e-5)
