"""Adapters by name: their configurations, checked before any model is there."""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Mapping
from typing import Any

from pipelines.adapt.bottleneck import HEADS, BottleneckConfig
from pipelines.adapter_settings import AdapterConfig
from pipelines.errors import UserError
from pipelines.yaml_text import shown

METHODS = {
    "lora": "LoraConfig",
    "adalora": "AdaLoraConfig",
    "ia3": "IA3Config",
    "prefix-tuning": "PrefixTuningConfig",
    "prompt-tuning": "PromptTuningConfig",
    "bottleneck": "BottleneckConfig",
}
"""The classes of their configurations: the last one is Motley's own, all others are PEFT's."""

TASK_TYPES = {
    "token-classification": "TOKEN_CLS",
    "sequence-classification": "SEQ_CLS",
    "multi-label-classification": "SEQ_CLS",
    "regression": "SEQ_CLS",
    "question-answering": "QUESTION_ANS",
    "causal-lm": "CAUSAL_LM",
    "seq2seq-lm": "SEQ_2_SEQ_LM",
    "sentence-embedding": "FEATURE_EXTRACTION",
}
"""PEFT's names. It trains and saves the new head of the first five beside the adapter."""

_NAMES = ("target_modules", "exclude_modules", "feedforward_modules", "modules_to_save")
"""Options that name modules. PEFT takes whatever they are and stumbles over it later."""

_STARTS = (True, False, "gaussian", "orthogonal")
_OURS = ("task_type", "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
         "total_step", "rank_pattern")  # fmt: skip


def adapter_config(adapter: AdapterConfig, task: str, *, num_steps: int | None = None) -> Any:
    """The configuration for `adapter` on a model with the head of `task`.

    Args:
        num_steps: of the whole run, which AdaLoRA's budget depends on; left out where it is not known yet.

    Raises:
        UserError: an unknown method or option, a value that PEFT refuses, or an option that Motley cannot keep to.
    """
    import peft

    if adapter.method not in METHODS:
        raise UserError(f"There is no adapter {shown(adapter.method)} (adapter.method); known: {', '.join(METHODS)}.")
    kind: Any = BottleneckConfig if adapter.method == "bottleneck" else getattr(peft, METHODS[adapter.method])
    known = [field.name for field in dataclasses.fields(kind) if field.init and field.name not in _OURS]
    for name in adapter.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise UserError(
                f"There is no option {shown(name)} for the adapter {adapter.method} (adapter.options); "
                f"did you mean {near!r}?"
            )
    for name in _NAMES:
        value = adapter.options.get(name)
        if not (value is None or isinstance(value, str) or _is_texts(value)):
            raise UserError(
                f"adapter.options.{name} is {shown(value)}: it should be the name of a module, or a list of names."
            )
    start = adapter.options.get("init_lora_weights", True)
    if start not in _STARTS:
        raise UserError(
            f"adapter.options.init_lora_weights={shown(start)} changes the weights beneath the adapter, so that the "
            f"saved adapter would not fit the model it came from. Choose one of {', '.join(map(str, _STARTS))}."
        )
    options = _defaults(adapter.method) | dict(adapter.options)
    if task in TASK_TYPES and kind is not BottleneckConfig:
        options["task_type"] = TASK_TYPES[task]
    if options.get("target_modules") == "all-linear" and options.get("task_type") in ("TOKEN_CLS", "SEQ_CLS"):
        # The head is trained whole: PEFT refuses one that is a target too.
        options["exclude_modules"] = [*_listed(options.get("exclude_modules")), *HEADS]
    if adapter.method == "adalora":
        options["total_step"] = num_steps or 2**31
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**options)
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        steps = f" The run has {num_steps} steps." if adapter.method == "adalora" and num_steps else ""
        raise UserError(f"The adapter {adapter.method} cannot be made (adapter.options): {said}{steps}") from None


def _defaults(method: str) -> dict[str, Any]:
    return {"num_virtual_tokens": 20} if method in ("prefix-tuning", "prompt-tuning") else {}


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple, set)) and all(isinstance(part, str) for part in value)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def with_sizes(config: Any, model_config: Any) -> Any:
    """`config` with what PEFT may not find out by itself for a model that it does not know.

    Raises:
        UserError: IA3 for a model that neither PEFT nor the options say the targets of.
    """
    import peft
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_ADALORA_TARGET_MODULES_MAPPING as ADALORA,
    )
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as IA3,
    )
    from peft.utils import (
        TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as LORA,
    )

    changes: Mapping[str, Any] = {}
    model_type = model_config.model_type
    if isinstance(config, peft.PromptLearningConfig):
        changes = _sizes(config, model_config)
    elif config.target_modules is None and not getattr(config, "target_parameters", None):
        if isinstance(config, peft.IA3Config):
            if model_type not in IA3:
                raise UserError(
                    f"PEFT does not know where IA3 goes in a model of type {model_type}. Say it: "
                    "adapter.options.target_modules and adapter.options.feedforward_modules, lists of names of linear "
                    "layers, the second within the first."
                )
        elif model_type not in (ADALORA if isinstance(config, peft.AdaLoraConfig) else LORA):
            headed = config.task_type in ("TOKEN_CLS", "SEQ_CLS") or config.modules_to_save
            excluded = [*_listed(config.exclude_modules), *(HEADS if headed else ())]
            changes = {"target_modules": "all-linear", "exclude_modules": set(excluded) or None}
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def _sizes(config: Any, model_config: Any) -> Mapping[str, Any]:
    found = {
        "num_layers": getattr(model_config, "num_hidden_layers", None),
        "num_attention_heads": getattr(model_config, "num_attention_heads", None),
        "token_dim": getattr(model_config, "hidden_size", None),
    }
    return {name: value for name, value in found.items() if getattr(config, name) is None and value is not None}
