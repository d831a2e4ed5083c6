from __future__ import annotations

from pathlib import Path

from pipelines.config import Config
from pipelines.model.load import without_caches
from pipelines.model.pretrained import Pretrained
from pipelines.tasks import make_task
from tests.tiny_lm import write_lm


def test_a_model_is_trained_without_a_cache_and_saved_with_the_one_it_had(tmp_path: Path) -> None:
    from transformers import AutoConfig

    for family, had in (("t5", True), ("gpt2", False)):
        source = write_lm(tmp_path / family, family, layers=1, use_cache=had)
        task = "seq2seq-lm" if family == "t5" else "causal-lm"
        config = Config.model_validate({"model": {"source": str(source)}, "train": {"task": task}})
        model = Pretrained(config, make_task(task), [])
        assert not model.config.use_cache
        model.save(tmp_path / "saved", [], {}, facts={})
        assert AutoConfig.from_pretrained(tmp_path / "saved").use_cache is had


def test_a_model_without_such_a_setting_is_left_alone() -> None:
    import torch

    assert without_caches(torch.nn.Linear(1, 1)) == []
