"""What may lie in a model's folder."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UserError

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})


def refuse_pickle(folder: Path) -> None:
    """Reading a pickle runs whatever its author wrote, so a folder with one is refused as a whole.

    Raises:
        UserError: names the files.
    """
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in PICKLES)
    if found:
        raise UserError(
            f"{folder} holds files that can run code when they are read: {', '.join(found)}. "
            "Save the model as safetensors and delete them."
        )
