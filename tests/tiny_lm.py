"""Tiny language models of several families with a tokenizer that takes characters: made anew, never downloaded."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

SPECIAL = ["<pad>", "</s>", "<s>", "<unk>", "<mask>"]
LETTERS = [*string.ascii_letters, *string.digits, *" .,:?!'-\n"]
PAD, END, BEGIN = 0, 1, 2


def write_lm(
    folder: Path, family: str, *, layers: int = 2, dropout: float = 0.0, spread: float = 0.05, **options: Any
) -> Path:
    """A model with random weights and its tokenizer, as `save_pretrained` writes them.

    Args:
        family: bert, gpt2, llama, t5, bart or marian.
        spread: of what is added to the weights as they begin; the more, the less what is foretold is what was read.
        options: of the model's configuration.
    """
    import transformers

    vocabulary = len(SPECIAL) + len(LETTERS)
    ids = {"vocab_size": vocabulary, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": BEGIN}
    plain = {
        "hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 64,
    }  # fmt: skip
    twice = {
        "d_model": 32, "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
        "dropout": dropout, "decoder_start_token_id": END, "forced_eos_token_id": END,
    }  # fmt: skip
    name, sizes = {
        "bert": ("BertForMaskedLM", plain | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}),
        "gpt2": ("GPT2LMHeadModel", {
            "n_embd": 32, "n_layer": layers, "n_head": 2, "n_positions": 64, "resid_pdrop": dropout,
            "embd_pdrop": dropout, "attn_pdrop": dropout,
        }),
        "llama": ("LlamaForCausalLM", plain | {"attention_dropout": dropout}),
        "t5": ("T5ForConditionalGeneration", {
            "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": layers, "num_heads": 2, "dropout_rate": dropout,
            "decoder_start_token_id": PAD,
        }),
        "bart": ("BartForConditionalGeneration", twice),
        "marian": ("MarianMTModel", twice | {"decoder_start_token_id": PAD, "bad_words_ids": [[PAD]]}),
    }[family]  # fmt: skip
    torch.manual_seed(0)
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**ids | sizes | options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    model.save_pretrained(folder)
    ends, most = family in ("t5", "bart", "marian"), options.get("max_position_embeddings", 64)
    _tokenizer(ends=ends, frames=family == "bert", most=most).save_pretrained(folder)
    return folder


def _tokenizer(*, ends: bool, frames: bool, most: int) -> Any:
    """A sub-word is a character; a text gets its end, or its beginning and its end."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {piece: i for i, piece in enumerate([*SPECIAL, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    if ends or frames:
        frame = f"{'<s> ' * frames}$A </s>"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=frame, special_tokens=[("</s>", END), ("<s>", BEGIN)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        mask_token="<mask>", model_max_length=most,
    )  # fmt: skip
