"""Get a model: whole and with its weights (once, on the driver), or as a skeleton to be filled (on a stage)."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.adapt.attach import attach
from pipelines.data.packages import package_path
from pipelines.data.rows import quote
from pipelines.errors import UserError
from pipelines.model.gguf_file import ENDING, check_gguf, forget_quantisation, gguf_options
from pipelines.model.sparse_file import dense_folder

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def resolve(source: str) -> str:
    """Where a model's `source` is: a local folder, a GGUF file, or a hub id.

    Raises:
        UserError: a package that is not installed, or a path that is neither a model's folder nor a GGUF file.
    """
    inside = source.startswith("package:")
    path = package_path(source.removeprefix("package:")) if inside else Path(source)
    try:
        file, folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise UserError(f"{quote(source)} cannot be looked up: {error.strerror}. Correct model.source.") from None
    if file and path.suffix == ENDING:
        check_gguf(path)
        return str(path)
    if inside:
        return str(path)
    if folder:
        if not (path / "config.json").is_file():
            raise UserError(
                f"The folder {path} holds no config.json, so it is no model. Give a folder written by save_pretrained."
            )
        return str(path)
    if path.is_absolute() or source.startswith(".") or path.suffix or source.count("/") > 1:
        raise UserError(
            f"There is no model at {source!r}: give a hub id, a model's folder, a .gguf file, or "
            "package:DISTRIBUTION/path."
        )
    return source


def load_model(source: str, *, auto_class: Any, dtype: str, seed: int, **config: Any) -> nn.Module:
    """The pretrained model with its weights; what the checkpoint lacks (the new head) is drawn from `seed`.

    Raises:
        UserError: no such model, weights only as a pickle, or a kind of model the task cannot use.
    """
    where = resolve(source)
    require_safetensors(where)
    place, options = gguf_options(where)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        # While it reads a GGUF file, transformers shows progress whatever it is told.
        with quiet(), redirect_stderr(io.StringIO()) if options else nullcontext(), dense_folder(Path(place)) as folder:
            model: nn.Module = auto_class.from_pretrained(
                str(folder), dtype=DTYPES[dtype], use_safetensors=True, **options, **config
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"The model {source!r} cannot be loaded: {_first_sentence(error)} {_hub_hint(where)}".strip()
        ) from None
    finally:
        torch.set_rng_state(state)
    if options:
        forget_quantisation(model)
    return model


def load_config_of(source: str) -> Any:
    """The model's configuration.

    Raises:
        UserError: there is none, or one of no model that transformers knows.
    """
    from transformers import AutoConfig

    place, options = gguf_options(resolve(source))
    try:
        with quiet():
            return AutoConfig.from_pretrained(place, **options)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"The configuration of {source!r} cannot be read: {_first_sentence(error)} Give a model that transformers "
            "knows."
        ) from None


def load_tokenizer(source: str, *, words: bool = True, slow_will_do: bool = False) -> Any:
    """The model's tokenizer.

    Args:
        words: it is to take words, and not texts as they are.
        slow_will_do: nothing is asked of it that only a fast one knows, such as what a sub-word stands for.

    Raises:
        UserError: there is none, or only a slow one (which knows no word boundaries).
    """
    from transformers import AutoTokenizer

    where = resolve(source)
    place, options = gguf_options(where)
    try:
        # RoBERTa's byte-level tokenizer takes words only if it may put the space before them itself.
        prefix = {"add_prefix_space": True} if words else {}
        tokenizer = AutoTokenizer.from_pretrained(place, **prefix, **options)
    # TypeError: a folder that lacks a vocabulary; ImportError: a slow tokenizer of a package that is not there.
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            f"The tokenizer of {source!r} cannot be loaded: {_first_sentence(error)} {_hub_hint(where)}".strip()
        ) from None
    if not tokenizer.is_fast and not slow_will_do:
        raise UserError(
            f"The tokenizer of {source!r} ({type(tokenizer).__name__}) is not a fast one, so words cannot be aligned "
            "to sub-words. Use a model whose folder holds a tokenizer.json."
        )
    return tokenizer


def load_extractor(source: str, *, auto_class: Any, what: str, **options: Any) -> Any:
    """What makes a model's input of images or sound.

    Args:
        auto_class: of transformers, such as AutoImageProcessor.
        what: what it is, in an error.

    Raises:
        UserError: there is none.
    """
    where = resolve(source)
    try:
        with quiet():
            return auto_class.from_pretrained(where, **options)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(
            f"The {what} of {source!r} cannot be loaded: {_first_sentence(error)} {_hub_hint(where)}".strip()
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and no table of the weights that a new head lacks: the run has its own display."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


@contextmanager
def _parameters_without_storage() -> Iterator[None]:
    """Every parameter that is registered goes to the meta device; buffers stay real.

    Buffers that are computed when the model is built (positions, rotary frequencies) are in no
    checkpoint, so building the whole model on the meta device would lose them.
    """
    register = nn.Module.register_parameter

    def registering(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        # One that is there already is being tied: it must stay the same.
        if parameter is not None and not parameter.is_meta:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = registering  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def skeleton(config: Any, *, model_class: str, dtype: str, adapter: Any = None) -> nn.Module:
    """The model of a configuration (a transformers config), its parameters on the meta device.

    Args:
        model_class: the class's name in transformers, for example BertForTokenClassification.
        adapter: PEFT's configuration of an adapter that belongs onto the model.
    """
    import transformers
    from transformers.initialization import no_init_weights

    with _parameters_without_storage(), no_init_weights():
        model: nn.Module = getattr(transformers, model_class)._from_config(copy.deepcopy(config), dtype=DTYPES[dtype])
        # Without initialisation nothing is tied yet.
        model.tie_weights()  # type: ignore[operator]
        if adapter is not None:
            model = attach(model, adapter).model
    for parameter in model.parameters():
        # Some models ask for float32 by name.
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(DTYPES[dtype])
    return model


def lay_out(model: nn.Module, names: Collection[str], device: torch.device | None = None) -> None:
    """Take the skeleton to `device` (the CPU when left out): real buffers, and a stand-in for every parameter.

    A stand-in has the shape but takes no memory. It holds NaN, so that what was computed with it by
    mistake cannot pass for a result. Parameters in `names` get memory instead, for `put` to fill; all
    others are never trained.
    """
    laid: dict[int, nn.Parameter] = {}
    for key, parameter in model.named_parameters():
        if key in names:
            room = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            laid[id(parameter)] = nn.Parameter(room, requires_grad=parameter.requires_grad)
            continue
        nothing = float("nan") if parameter.is_floating_point() else 0
        # Made where it belongs: a stand-in that moves to another device would take memory there.
        stand_in = torch.full((), nothing, dtype=parameter.dtype, device=device).expand(parameter.shape)
        laid[id(parameter)] = nn.Parameter(stand_in, requires_grad=False)
    for module in model.modules():
        # A tied parameter sits in several modules: each gets the same one.
        for name, held in module._parameters.items():
            if held is not None:
                module._parameters[name] = laid.get(id(held), held)
    for key, buffer in list(model.named_buffers()):
        path, _, name = key.rpartition(".")
        # One that is made like a parameter has no storage.
        real = torch.zeros(buffer.shape, dtype=buffer.dtype, device=device) if buffer.is_meta else buffer.to(device)
        model.get_submodule(path)._buffers[name] = real


@torch.no_grad()
def put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give the named parameters and buffers of a model that was laid out copies of these values."""
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for name, value in values.items():
        if name in parameters:
            # In place: whoever shares the parameter's memory sees its value.
            parameters[name].copy_(value)
        else:
            path, _, own = name.rpartition(".")
            model.get_submodule(path)._buffers[own] = value.to(buffers[name].device, copy=True)


def require_safetensors(where: str) -> None:
    """Check that a local folder (a hub id is left alone) has its weights in safetensors.

    Raises:
        UserError: only pickles, or no weights at all.
    """
    folder = Path(where)
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"})
    found = f"only {', '.join(pickles)}, a pickle, which could run code" if pickles else "no weights"
    raise UserError(
        f"The folder {folder} holds {found}. Save the model with safetensors: model.save_pretrained(folder)."
    )


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _hub_hint(where: str) -> str:
    if Path(where).exists():
        return ""
    offline = " The hub is switched off by HF_HUB_OFFLINE." if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
    return f"If the hub cannot be reached from here, give a local folder.{offline}"


def without_caches(model: nn.Module) -> list[Any]:
    """Let no forward keep what only the next token of a text to be written would need.

    Returns:
        The configurations inside that had it so; `use_cache` is for whoever saves the model to set again.
    """
    return _switched_off(model, "use_cache")


def without_augmentation(model: nn.Module) -> list[Any]:
    """Let no forward of sound hide parts of it: which ones, numpy would draw, whatever the run's seed.

    Returns:
        The configurations inside that had it so; `apply_spec_augment` is for whoever saves the model to set again.
    """
    return _switched_off(model, "apply_spec_augment")


def _switched_off(model: nn.Module, setting: str) -> list[Any]:
    configs = {id(inner): inner for module in model.modules() for inner in _inner(getattr(module, "config", None))}
    found = [config for config in configs.values() if getattr(config, setting, False)]
    for config in found:
        setattr(config, setting, False)
    return found


def _inner(config: Any) -> Iterator[Any]:
    """A configuration of transformers and those inside it."""
    if hasattr(config, "model_type"):
        yield config
        for value in vars(config).values():
            yield from _inner(value)


def config_of(model: nn.Module) -> Any:
    """A copy of the model's configuration, ready for `skeleton`."""
    return copy.deepcopy(model.config)
