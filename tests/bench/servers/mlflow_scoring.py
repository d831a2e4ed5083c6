"""`mlflow models serve` of the model as MLflow's transformers flavor saves it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mlflow.transformers
from transformers import AutoModelForTokenClassification, AutoTokenizer


def main() -> None:
    folder, port = Path(sys.argv[1]), sys.argv[2]
    place = folder.parent / f"{folder.name}-mlflow-{port}"
    parts = {
        "model": AutoModelForTokenClassification.from_pretrained(folder),
        "tokenizer": AutoTokenizer.from_pretrained(folder),
    }
    mlflow.transformers.save_model(parts, str(place), task="token-classification", pip_requirements=["transformers"])
    words = ["models", "serve", "-m", str(place), "-h", "127.0.0.1", "-p", port, "--env-manager", "local", "-w", "2"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *words])


if __name__ == "__main__":
    main()
