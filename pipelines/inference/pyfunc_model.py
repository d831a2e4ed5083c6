"""The file that MLflow stores with a registered model and runs to load it; nothing else imports it.

mlflow.pyfunc.load_model("models:/NAME@champion").predict([{"text": "some text"}])
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from pipelines.inference.predictors import load_predictor


class Model(PythonModel):
    """Rows with the fields of an input in; for each row its output, as the endpoint gives it."""

    def load_context(self, context: PythonModelContext) -> None:
        # The process belongs to someone else: its number of threads stays.
        self._predictor = load_predictor(Path(context.artifacts["model"]), threads=torch.get_num_threads())

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: list[dict[str, str]],
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, object]]:
        inputs = [self._predictor.takes(**row) for row in model_input]
        return [asdict(output) for output in self._predictor.predict(inputs)]


set_model(Model())
