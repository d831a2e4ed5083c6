"""Every architecture that transformers knows for eight heads, as a model of few layers and tiny width."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.census.shrink import small_config

MAPPINGS = {
    "token-classification": "TOKEN_CLASSIFICATION",
    "sequence-classification": "SEQUENCE_CLASSIFICATION",
    "question-answering": "QUESTION_ANSWERING",
    "causal-lm": "CAUSAL_LM",
    "masked-lm": "MASKED_LM",
    "seq2seq-lm": "SEQ_TO_SEQ_CAUSAL_LM",
    "image-classification": "IMAGE_CLASSIFICATION",
    "audio-classification": "AUDIO_CLASSIFICATION",
}

# Their forward makes single-precision numbers on its way, or its masks overflow them: build these in float32.
SINGLE_PRECISION = frozenset({"canine", "fsmt", "inkling2_text", "mra", "prophetnet", "splinter", "xglm"})


class CannotBuild(Exception):
    """Nothing to do with the small settings: the model needs what is not here."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One architecture with one head."""

    head: str
    model_type: str
    class_name: str

    def __str__(self) -> str:
        return f"{self.head} {self.model_type} {self.class_name}"


def pairs() -> list[Pair]:
    """All pairs of transformers' mappings, in their order."""
    from transformers.models.auto import modeling_auto

    found = []
    for head, mapping in MAPPINGS.items():
        for model_type, names in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").items():
            found += [Pair(head, model_type, name) for name in ((names,) if isinstance(names, str) else names)]
    return found


def build(pair: Pair, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """A model with random weights and no randomness of its own in training.

    Raises:
        CannotBuild: it needs a package or a download, or the small settings do not fit it.
    """
    from transformers import CONFIG_MAPPING

    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model_class = _class(pair)
        config = _fitting(small_config(CONFIG_MAPPING[pair.model_type], pair.head), model_class)
        model: nn.Module = model_class._from_config(config, dtype=dtype, experts_implementation="eager")
        for parameter in model.parameters():  # a few are made in single precision whatever the default is
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        _nudge(model)
    except Exception as error:
        raise CannotBuild(_short(error)) from error
    finally:
        torch.set_rng_state(state)
    return model.train()


def dtype_of(pair: Pair) -> torch.dtype:
    """Double precision where the architecture can do it."""
    return torch.float32 if pair.model_type in SINGLE_PRECISION else torch.float64


def trains(model: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> str | None:
    """Why the plain model does not train on these batches; None if it does."""
    model.train()
    try:
        for batch in batches:
            loss = getattr(model(**batch), "loss", None)
            if loss is None:
                return "gives no loss"
            if not torch.isfinite(loss).all():
                return "loss is not finite"
            loss.backward()
            if not any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters()):
                return "no parameter has a gradient"
    except Exception as error:
        return _short(error)
    finally:
        model.zero_grad()
    return None


def _class(pair: Pair) -> Any:
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    module = importlib.import_module(f"transformers.models.{model_type_to_module_name(pair.model_type)}")
    if hasattr(module, pair.class_name):
        return getattr(module, pair.class_name)
    return getattr(importlib.import_module("transformers"), pair.class_name)


def _fitting(config: Any, model_class: Any) -> Any:
    """The configuration of the wanted class: some heads take only a part of what belongs to their architecture."""
    wanted = model_class.config_class
    if isinstance(config, wanted):
        return config
    inner = [value for value in vars(config).values() if hasattr(value, "model_type")]
    return next((value for value in inner if isinstance(value, wanted)), config)


@torch.no_grad()
def _nudge(model: nn.Module) -> None:
    """Move biases and norms off 0 and 1, and matrices off 0, where some gradients are nothing but rounding."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and (parameter.ndim <= 1 or not parameter.any()):
            parameter.add_(torch.randn_like(parameter) * 0.02)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
