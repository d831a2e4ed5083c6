"""The file that MLflow stores with a registered model and runs to load it; nothing else imports it.

mlflow.pyfunc.load_model("models:/NAME@champion").predict(["some text"])
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipelines.inference.predictor import Predictor


class EntityModel(PythonModel):
    """Texts in; for each text a list of entities with type, start, end, text and score."""

    def load_context(self, context: PythonModelContext) -> None:
        # The process belongs to someone else: its number of threads stays.
        self._predictor = Predictor.load(Path(context.artifacts["model"]), threads=torch.get_num_threads())

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: list[str],
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[list[dict[str, object]]]:
        return [[asdict(entity) for entity in entities] for entities in self._predictor.predict(model_input)]


set_model(EntityModel())
