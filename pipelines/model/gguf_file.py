"""Checkpoints in one GGUF file, as llama.cpp writes them: transformers reads them and undoes their quantisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.errors import UserError

ENDING = ".gguf"


def gguf_options(where: str) -> tuple[str, dict[str, str]]:
    """What `from_pretrained` takes for a resolved source: its place, and the GGUF file's name if it is one."""
    path = Path(where)
    if path.suffix != ENDING:
        return where, {}
    return str(path.parent), {"gguf_file": path.name}


def forget_quantisation(model: Any) -> None:
    """The weights of what was read are plain; transformers would refuse to save the model for what they once were."""
    model.hf_quantizer = None
    for name in ("is_quantized", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def check_gguf(path: Path) -> None:
    """Read all of a file but its tensors' values.

    Raises:
        UserError: it is no GGUF file, it is damaged, or it is one of several that make a model.
    """
    from gguf import GGUFReader

    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"{path} is no GGUF file: its first bytes are not GGUF. Give one that llama.cpp loads.")
    try:
        reader = GGUFReader(path)
        _read(reader, "general.architecture")
        count = _read(reader, "split.count") if "split.count" in reader.fields else 1
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        # Whatever the reader meets where it takes damaged bytes for numbers, names or shapes.
        raise UserError(
            f"The GGUF file {path} is damaged or cut short ({type(error).__name__}: {error}). Get the file again."
        ) from None
    if count > 1:
        raise UserError(
            f"The GGUF file {path} is one of {count} that make a model, and only whole ones are read. Join them with "
            "llama-gguf-split --merge."
        )


def _read(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()
