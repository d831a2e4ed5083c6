"""Models for tasks that no package has a pretrained one for: small, with random weights, and made for the data."""

from __future__ import annotations

import json
from pathlib import Path

import torch

VOCABULARY = 1500


def write_translator(folder: Path, data: Path, *, dropout: float = 0.1) -> Path:
    """A BART of two blocks on each side, with sub-words (BPE) found in train's sources and targets.

    Args:
        folder: the model goes there.
        data: with train.jsonl, whose rows have `text` and `target`.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    rows = [json.loads(line) for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    special = ["<pad>", "</s>", "<s>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([row[side] for row in rows for side in ("text", "target")], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=256, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=tokenizer.get_vocab_size(), d_model=128, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256,
        max_position_embeddings=256, pad_token_id=0, eos_token_id=1, bos_token_id=2, decoder_start_token_id=1,
        forced_eos_token_id=None, dropout=dropout,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(folder)
    return folder


def write_vit(folder: Path, data: Path) -> Path:  # noqa: ARG001
    """A ViT of four blocks that reads digits of 8 by 8 pixels in squares of 2 by 2."""
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128, image_size=8, patch_size=2
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def write_ast(folder: Path, data: Path) -> Path:  # noqa: ARG001
    """An audio spectrogram transformer of three blocks: half a second is 50 frames of 32 pitches."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, patch_size=8,
        frequency_stride=8, time_stride=8, max_length=56, num_mel_bins=32,
    )  # fmt: skip
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=32, max_length=56).save_pretrained(folder)
    return folder
