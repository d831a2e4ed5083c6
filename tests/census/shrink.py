"""Make every size in the default configuration of an architecture small, by the names of the settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS, WINDOW, IMAGE, EXPERTS = 4, 32, 4, 64, 99, 64, 4, 64, 4
LABELS = 3


# What the rules below do not get right, by the configuration's model_type (also where it sits inside another).
# fmt: off
OVERRIDES: dict[str, dict[str, Any]] = {
    # Learned positions of one shape only, and chunks of which every text would have to be a multiple.
    "reformer": {"axial_pos_embds": False, "attn_layers": ["local", "lsh", "local", "lsh"],
                 "local_attn_chunk_length": 16, "lsh_attn_chunk_length": 16},
    # Widths and lengths that are divided by more than the heads.
    "bros": {"hidden_size": 128},
    "canine": {"downsampling_rate": 2},
    "lilt": {"hidden_size": 96},
    "longcat_flash": {"head_dim": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16},
    "neomme": {"head_dim": 16},
    "nemotron3_diarization": {"chunk_right_context": 2, "chunk_left_context": 2},
    "perceiver": {"num_cross_attention_heads": 1},
    "squeezebert": {"embedding_size": WIDTH},
    # Widths that are in the code.
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 1.0, "in_channels": [32, 16, 24],
                     "out_channels": [16, 24, 40], "kernel_sizes": [3, 3, 5], "strides": [1, 2, 2],
                     "expand_ratios": [1, 6, 6], "num_block_repeats": [1, 3, 3], "hidden_dim": 320},
    "mobilenet_v1": {"depth_multiplier": 0.125},
    "mobilenet_v2": {"depth_multiplier": 0.125},
    "mobilevitv2": {"width_multiplier": 0.25},
    # What a checkpoint's configuration has and the default one lacks, or has for the default depth only.
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "dots3_note_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 4, "swa_q_lora_rank": 8,
                        "swa_kv_lora_rank": 8, "swa_head_dim": 12, "swa_qk_nope_head_dim": 8, "swa_v_head_dim": 8},
    "gemma4_text": {"global_head_dim": 16},
    "gemma4_unified_text": {"global_head_dim": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "qwen4_exp_text": {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 4,
                       "indexer_compress_ratio": 2},
    # One shared block, run at two places.
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"]},
}
# fmt: on


def small_config(config_class: Any, head: str) -> Any:
    """The default configuration with every size made small."""
    return config_class(**_Shrink(head).settings(config_class()))


# How a number of a configuration is made small, by its name; the first pattern that is found in the name holds.
# A rule gets the old value and the whole old configuration.
_KEEP = re.compile(
    r"kernel|stride|patch_size|num_channels|^in_chan|num_labels|type_vocab|buckets|bins$|factor|ratio|groups?_norm"
    r"|num_(adapter|feat_extract|conv|hidden_groups)|vocab_offset|pooling|chunk_size_feed|tokenizer_chunk"
    r"|adapter_layers|_idx$|num_mtp|languages|inner_group|num_feedforward|mult$|expansion$"
    r"|(^|_)(q|k|v|o|attention|intermediate|output)_groups$"
)
_KEEP_LIST = re.compile(r"kernel|stride|ratio|factor|patch_size|repeat|_ids?$|_ind(ex|ices)$")


def _at_most(most: int) -> Any:
    return lambda value, _: min(value, most)


def _layers(value: int, _: Any) -> int:
    return max(3, min(value, LAYERS)) if value > 1 else value


def _key_value_heads(value: int, config: Any) -> int:
    if value == 1:
        return 1
    return HEADS if value == _value(config, "num_attention_heads") else HEADS // 2


def _narrow(value: int, config: Any) -> int:
    """Half the width, where the first stage of several is meant, or the embeddings before a projection."""
    return min(value, WIDTH // 2 if hasattr(config, "depths") or "embedding_size" in vars(config) else WIDTH)


_RULES: list[tuple[str, Any]] = [
    (r"vocab(_size)?$|vocab_size_|^n_words$|num_embeddings$", _at_most(VOCABULARY)),
    (r"num_kv_shared_layers|first_k_dense|num_dense_layers|nextn|max_window_layers", _at_most(1)),
    (r"(^|_)n_?layers?$|layers$|(^|_)depth$|hidden_blocks$|^num_blocks$", _layers),
    (r"(period|interval|pattern|sparse_step)$", _at_most(2)),
    (r"layer_offset$", _at_most(1)),
    (r"(kv|key_value|head_kv)_heads|multi_query_group|num_key_heads|n_head_kv|kv_n_heads", _key_value_heads),
    (r"(^|_)n?_?heads?$|num_.*_heads$|self_attends", _at_most(HEADS)),
    (r"per_tok|(^|_)top_?k$|moe_k$|experts_per|n_group$|topk_experts", _at_most(2)),
    (r"topk_group$", _at_most(1)),
    (r"num_shared_experts|n_shared_experts|num_shared", _at_most(1)),
    (r"(num|n)_.*experts$|^num_experts$|^n_experts$|expert_num", _at_most(EXPERTS)),
    (r"expert_capacity", _at_most(64)),
    (r"qk_rope_head_dim|rotary_dim", lambda *_: 4),
    (r"mamba_d_head|mamba_headdim|mamba_head_dim", lambda *_: 2 * WIDTH // HEADS),
    (r"head_dim|head_size|^d_(head|kv)$|kv_channels|dim_head|head_channels", lambda *_: WIDTH // HEADS),
    (r"rank$", _at_most(WIDTH // HEADS)),
    (r"moe_intermediate|expert_intermediate|expert_ffn", lambda *_: WIDTH),
    (r"intermediate|ffn|inner|^d_?ff$|mlp_dim|feed_?forward|mlp_(hidden_)?size|expert_dim|hidden_ff", lambda *_: INNER),
    (r"d_state|state_size|state_dim", _at_most(8)),
    (r"conv_pos_embeddings$", _at_most(16)),
    (r"conv_pos_embedding_groups$", _at_most(4)),
    (r"n_groups$", _at_most(2)),
    (r"num_groups$", _at_most(4)),
    (r"mel|spectrogram_bins", _at_most(16)),
    (r"position_embeddings|positions$|max_(rel_)?pos|seq_len|n_ctx|(max|context)_length", _at_most(POSITIONS)),
    (r"^window_size$", _at_most(WINDOW // 2)),
    (r"sliding_window|window_size|attention_window|attention_chunk|^window$|block_size", _at_most(WINDOW)),
    (r"chunk_size|chunk_length", _at_most(2 * WINDOW)),
    (r"image_size|img_size|^input_size$|crop_size", _at_most(IMAGE)),
    (r"num_patches$", _at_most(16)),
    (r"num_filters", _at_most(4)),  # doubled from stage to stage
    (r"num_latents|num_query_tokens|num_queries", _at_most(8)),
    (r"coordinate_size", lambda *_: WIDTH // 8),  # four coordinates and two lengths make one width
    (r"shape_size", lambda *_: WIDTH // 4),
    (r"^embed_dim$|embedding_size$", _narrow),
    (r"size|dim|d_model|n_embd|width|d_latents|units|channels|hidden", _at_most(WIDTH)),
]  # fmt: skip
_SILENT = re.compile(r"drop|layerdrop|mask_(time|feature)_prob|jitter|noise")
_TOKEN = re.compile(r"token_ids?$|token_index$|_id$|_index$")
_FILLED = {
    "vocab_size": VOCABULARY, "pad_token_id": 0, "head_dim": WIDTH // HEADS, "num_key_value_heads": HEADS // 2,
    "num_experts_per_tok": 2, "n_routed_experts": EXPERTS, "n_shared_experts": 1, "moe_intermediate_size": WIDTH,
}  # fmt: skip
"""What has to be set though the default configuration leaves it open."""
_OFF = ("use_cache", "apply_spec_augment", "output_router_logits", "use_mamba_kernels", "use_kernels", "use_mems_train")


class _Shrink:
    """Makes one configuration, and those inside it, small."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._moved: dict[int, int] = {}

    def settings(self, config: Any) -> dict[str, Any]:
        """What to build the configuration from; what it computes from other settings is left to it."""
        from transformers import PreTrainedConfig

        common = {f.name for f in fields(PreTrainedConfig)}
        own = {f.name: f for f in fields(config) if f.name not in common and not f.name.startswith("_")}
        deep = None if hasattr(config, "depths") else getattr(config, "num_hidden_layers", None)
        picked = _picked_layers(config, deep) if isinstance(deep, int) else []
        settings: dict[str, Any] = {}
        for name, field in own.items():
            value = _value(config, name)
            if isinstance(value, PreTrainedConfig):
                settings[name] = type(value)(**self.settings(value))
            elif value is None and name in _FILLED:
                settings[name] = _FILLED[name]
            elif _TOKEN.search(name):
                settings[name] = self._token(value)
            elif isinstance(value, (list, tuple)) and len(value) == deep:
                settings[name] = type(value)(_number(name, value[k], config) for k in picked)
            elif field.default is None or field.default == "auto":
                continue
            elif isinstance(value, (list, tuple)):
                settings[name] = _list(name, value)
            elif isinstance(value, (int, float)):
                settings[name] = False if name in _OFF else _number(name, value, config)
        if "is_decoder" in own and self._head == "causal-lm":
            settings["is_decoder"] = True
        if getattr(config, "is_encoder_decoder", False) and getattr(config, "decoder_start_token_id", None) is None:
            settings["decoder_start_token_id"] = 0
        if self._head == "token-classification" and getattr(config, "classifier_dropout", None) is None:
            settings["classifier_dropout"] = 0.0  # or else some heads take 0.1
        # A question's answer has a start and an end: two labels for each position.
        settings["num_labels"] = 2 if self._head == "question-answering" else LABELS
        return settings | OVERRIDES.get(config.model_type, {})

    def _token(self, value: Any) -> Any:
        """A special token outside the small vocabulary gets a number from its end, everywhere the same."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._token(v) for v in value)
        if not isinstance(value, int) or value < VOCABULARY - 30:
            return value
        return self._moved.setdefault(value, VOCABULARY - 1 - len(self._moved))


def _value(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except Exception:  # some settings differ from layer to layer and cannot be asked for as one
        return getattr(type(config), name, None)


def _picked_layers(config: Any, deep: int) -> list[int]:
    """Which layers stay: the first of each kind, filled up with the last ones."""
    kinds: dict[Any, int] = {}
    for field in fields(config):
        value = _value(config, field.name)
        if isinstance(value, (list, tuple)) and len(value) == deep:
            for k, kind in enumerate(value):
                kinds.setdefault((field.name, str(kind)), k)
    picked = sorted(set(kinds.values()))[:LAYERS]
    rest = [k for k in reversed(range(deep)) if k not in picked]
    return sorted(picked + rest[: max(0, min(LAYERS, deep) - len(picked))])


def _number(name: str, value: Any, config: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if _SILENT.search(name):
        return type(value)(0)
    if re.search(r"initializer_range|init_std", name):
        return 0.1  # in tiny widths the usual numbers let the signal die out
    if not isinstance(value, int) or value < 1 or _KEEP.search(name):
        return value
    return next((rule(value, config) for pattern, rule in _RULES if re.search(pattern, name)), value)


def _list(name: str, value: Sequence[Any]) -> Any:
    """A list with one entry a stage, or with several settings of one kind."""
    if _SILENT.search(name):
        return type(value)(0.0 if isinstance(v, float) else v for v in value)
    if not value or not all(isinstance(v, int) and not isinstance(v, bool) for v in value) or _KEEP_LIST.search(name):
        return value
    if re.search(r"depth|num_blocks|layers|block_sizes|num_encoder_blocks", name):
        made = [3 if v > 1 else v for v in value]
    elif re.search(r"heads", name):
        made = [2 ** min(i, 3) for i in range(len(value))]
    elif re.search(r"window", name):
        made = [min(v, WINDOW) for v in value]
    elif re.search(r"image_size", name):
        made = [IMAGE for _ in value]
    elif re.search(r"size|dim|channels|width|filters|hidden", name):
        # The same number becomes the same number in every list: what one stage gives, the next one takes.
        made = [v if v <= 8 else WIDTH * -(-v // 256) for v in value]
    else:
        return value
    return type(value)(made)
