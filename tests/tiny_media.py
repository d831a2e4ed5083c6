"""Tiny models of images and of sound with their processors: made anew, never downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.data.examples import Array

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def pixels(seed: int, side: int = 8) -> Array:
    """An image of noise, uint8 [side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def write_vit(folder: Path, *, classes: int = 5) -> Path:
    """A random-weight ViT for images of 16 by 16 pixels, with a head for `classes` of its own."""
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**SIZES, image_size=16, patch_size=8, num_labels=classes)).save_pretrained(
        folder
    )
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
