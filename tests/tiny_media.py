"""Tiny models of images and of sound with their processors: made anew, never downloaded."""

from __future__ import annotations

import io
import wave
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


def recording(seed: int, samples: int, *, rate: int = 16_000, channels: int = 1) -> bytes:
    """A WAV file of noise."""
    raw = io.BytesIO()
    with wave.open(raw, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        noise = np.random.default_rng(seed).integers(-9000, 9000, samples * channels, np.int16)
        file.writeframes(noise.astype("<i2").tobytes())
    return raw.getvalue()


def write_wav2vec2(folder: Path) -> Path:
    """A random-weight wav2vec 2.0 that hears a step in 40 samples, with a mask for padding."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16),
        conv_stride=(5, 8), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4, classifier_proj_size=16, feat_extract_norm="layer",
        do_stable_layer_norm=True, hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0,
        feat_proj_dropout=0.0, final_dropout=0.0, layerdrop=0.0, apply_spec_augment=False,
    )  # fmt: skip
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


def write_ast(folder: Path) -> Path:
    """A random-weight audio spectrogram transformer: every recording becomes 64 frames of 16 values."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    config = ASTConfig(**SIZES, patch_size=8, frequency_stride=8, time_stride=8, max_length=64, num_mel_bins=16)
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(folder)
    return folder
