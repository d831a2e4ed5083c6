"""Load somebody's model for a check: with the class of its task, and without any randomness of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from pipelines.adapt.adapted import Adapted
from pipelines.adapt.attach import attach
from pipelines.adapt.methods import adapter_config
from pipelines.adapter_settings import AdapterConfig
from pipelines.errors import UserError
from pipelines.model.gguf_file import gguf_options
from pipelines.model.load import DTYPES, load_config_of, load_model, resolve

TASKS = {
    "token-classification": ("AutoModelForTokenClassification", "TOKEN_CLASSIFICATION"),
    "sequence-classification": ("AutoModelForSequenceClassification", "SEQUENCE_CLASSIFICATION"),
    "question-answering": ("AutoModelForQuestionAnswering", "QUESTION_ANSWERING"),
    # Before masked-lm: some classes for text from text can do both.
    "seq2seq-lm": ("AutoModelForSeq2SeqLM", "SEQ_TO_SEQ_CAUSAL_LM"),
    "causal-lm": ("AutoModelForCausalLM", "CAUSAL_LM"),
    "masked-lm": ("AutoModelForMaskedLM", "MASKED_LM"),
    "image-classification": ("AutoModelForImageClassification", "IMAGE_CLASSIFICATION"),
    "audio-classification": ("AutoModelForAudioClassification", "AUDIO_CLASSIFICATION"),
}
"""The class that loads a task's models, and the middle of its mapping's name in transformers."""

_RANDOM = re.compile(r"drop|mask_(time|feature)_prob|jitter")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked."""

    model: nn.Module
    """What is trained: with an adapter's layers in it, if it is to have one."""
    model_class: str
    """Its name in transformers."""
    task: str
    silenced: tuple[str, ...]
    """Probabilities of the configuration that were not 0, and are now."""
    adapted: Adapted | None = None
    adapter: Any = None
    """The adapter's configuration."""


def load_subject(
    source: str, *, task: str | None, dtype: str, adapter: str | None = None, num_steps: int | None = None
) -> Subject:
    """The model with its weights; a head that the checkpoint lacks, and an adapter, are drawn from seed 0.

    Args:
        adapter: its method, if the model is to have one.
        num_steps: how many the run has, for AdaLoRA.

    Raises:
        UserError: no such model, weights only as a pickle, or a task that is unknown or cannot be guessed.
    """
    import transformers

    if task is not None and task not in TASKS:
        raise UserError(f"There is no task {task!r} (--task); known: {', '.join(TASKS)}.")
    _, options = gguf_options(resolve(source))
    config = load_config_of(source)
    if task is None and options and not config.architectures:
        # What llama.cpp runs and no more: text from text.
        task = "causal-lm"
    task = task or guess_task(getattr(config, "architectures", None) or ())
    silenced = silence(config)
    model = load_model(
        source,
        auto_class=getattr(transformers, TASKS[task][0]),
        dtype=dtype,
        seed=0,
        config=config,
        # The grouped kernels do not know float64.
        experts_implementation="eager",
    )
    for parameter in model.parameters():
        # Some models ask for float32 by name; stages do not heed them either.
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(DTYPES[dtype])
    model_class = type(model).__name__
    if adapter is None:
        return Subject(model, model_class, task, silenced)
    config = adapter_config(AdapterConfig(method=adapter), task, num_steps=num_steps)
    adapted = attach(model, config, seed=0)
    return Subject(adapted.model.to(DTYPES[dtype]), model_class, task, silenced, adapted, config)


def guess_task(architectures: tuple[str, ...] | list[str]) -> str:
    """The task of the first of a configuration's `architectures`.

    Raises:
        UserError: none is named, or it has none of the tasks' heads.
    """
    from transformers.models.auto import modeling_auto

    for task, (_, mapping) in TASKS.items():
        for names in getattr(modeling_auto, f"MODEL_FOR_{mapping}_MAPPING_NAMES").values():
            if architectures and architectures[0] in ((names,) if isinstance(names, str) else names):
                return task
    found = f"names {architectures[0]}" if architectures else "names no architecture"
    raise UserError(
        f"The model's config.json {found}, from which no task can be guessed. Say which head to train: --task and one "
        f"of {', '.join(TASKS)}."
    )


def silence(config: Any) -> tuple[str, ...]:
    """Set every dropout, layer drop, SpecAugment and jitter to 0 and caches off; return what was not 0."""
    changed = []
    for path, inner in _configs(config, ""):
        for name, value in list(vars(inner).items()):
            if isinstance(value, bool) or not _RANDOM.search(name):
                continue
            if isinstance(value, int | float) and value:
                setattr(inner, name, type(value)(0))
                changed.append(f"{path}{name}")
            elif isinstance(value, list) and value and all(isinstance(v, float) for v in value) and any(value):
                setattr(inner, name, [0.0] * len(value))
                changed.append(f"{path}{name}")
        if getattr(inner, "apply_spec_augment", False):
            inner.apply_spec_augment = False
            changed.append(f"{path}apply_spec_augment")
        if hasattr(inner, "use_cache"):
            inner.use_cache = False
    config.use_cache = False
    return tuple(changed)


def _configs(config: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, config
    for name, value in vars(config).items():
        if hasattr(value, "model_type"):
            yield from _configs(value, f"{path}{name}.")
