"""What tasks share that read texts as they are, and not word by word."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pipelines.tasks.task import Task
from pipelines.tasks.text_inputs import text_probe


class RawTextTask(Task):
    """Its rows' texts go into the tokenizer whole."""

    def load_processor(self, source: str) -> Any:
        from pipelines.model.load import load_tokenizer

        return load_tokenizer(source, words=False)

    def probe(self, processor: Any) -> dict[str, Tensor]:
        return text_probe(processor)
