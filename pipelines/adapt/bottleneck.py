"""Bottleneck adapters: a small network behind a block's last projections, around which what it adds to flows.

    y = W x          y + up(f(down(y)))      down: width -> width / reduction, up: back again, first 0

Houlsby et al. 2019 put one behind attention's output and one behind the feed-forward's, Pfeiffer et al. 2021 the
second alone. PEFT has none of this kind, and they cannot be worked into the weights: f is no linear function.
Imports nothing of Motley but its errors, for it travels with a registered model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipelines.adapt.adapted import Adapted
from pipelines.errors import UserError

FUNCTIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
HEADS = ("classifier", "score", "qa_outputs", "projector")
"""New heads, which are trained whole beside the adapter."""
PEFT_TYPE = "BOTTLENECK"
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class BottleneckConfig:
    target_modules: tuple[str, ...] | None = None
    """Ends of the names of the linear layers that one goes behind; those at a feed-forward's end when left out."""
    reduction: int = 16
    """How many times narrower the bottleneck is."""
    activation: str = "relu"
    """relu, gelu, silu or tanh."""

    def __post_init__(self) -> None:
        if self.reduction < 1:
            raise ValueError(f"`reduction` must be at least 1, but is {self.reduction}")
        if self.activation not in FUNCTIONS:
            raise ValueError(f"`activation` must be one of {', '.join(FUNCTIONS)}, but is {self.activation!r}")


class Bottleneck(nn.Module):
    """Stands in the place of `base_layer`, whose output [..., width] it adds to."""

    def __init__(self, base_layer: nn.Module, width: int, config: BottleneckConfig) -> None:
        super().__init__()
        like = next(base_layer.parameters())
        self.base_layer = base_layer
        self.adapter_down = nn.Linear(width, max(1, width // config.reduction), dtype=like.dtype)
        self.activation = FUNCTIONS[config.activation]()
        self.adapter_up = nn.Linear(max(1, width // config.reduction), width, dtype=like.dtype)
        # At first the model answers as it did without.
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base_layer(x)
        added: Tensor = self.adapter_up(self.activation(self.adapter_down(y)))
        return y + added


class BottleneckAdapted(Adapted):
    beside = True

    def __init__(self, model: nn.Module, config: BottleneckConfig) -> None:
        """Put bottlenecks into `model`, which is changed, and freeze everything else but its head.

        Raises:
            UserError: no layer has such a name, or it is not known where they go in a model of this type.
        """
        self.model = model
        targets = config.target_modules or _targets(model)
        self._config = dataclasses.replace(config, target_modules=tuple(targets))
        found = [
            (path, module, width)
            for path, module in model.named_modules()
            if path.endswith(tuple(targets)) and (width := _width(module)) is not None
        ]
        if not found:
            linear = sorted({path.rpartition(".")[2] for path, m in model.named_modules() if _width(m) is not None})
            raise UserError(
                f"{type(model).__name__} has no linear layer whose name ends with {' or '.join(targets)} "
                f"(adapter.options.target_modules). Its linear layers are called {', '.join(linear)}."
            )
        model.requires_grad_(False)
        for path, module, width in found:
            model.set_submodule(path, Bottleneck(module, width, config))
        for path, module in model.named_modules():
            if path.endswith((".adapter_down", ".adapter_up")) or path in HEADS:
                module.requires_grad_(True)

    def save(self, folder: Path, ranks: Mapping[str, Sequence[bool]]) -> None:
        """Write the adapter for `load_bottleneck`."""
        del ranks
        folder.mkdir(parents=True, exist_ok=True)
        entries = dataclasses.asdict(self._config) | {"peft_type": PEFT_TYPE}
        (folder / _CONFIG).write_text(json.dumps(entries, indent=1), encoding="utf-8")
        weights = {name: p.detach().contiguous() for name, p in self.model.named_parameters() if p.requires_grad}
        save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})

    def plain(self) -> nn.Module:
        for path, module in list(self.model.named_modules()):
            if isinstance(module, Bottleneck):
                self.model.set_submodule(path, module.base_layer)
        return self.model


def is_bottleneck(folder: Path) -> bool:
    """Whether the adapter in `folder` is one of these."""
    entries = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    return bool(entries.get("peft_type") == PEFT_TYPE)


def load_bottleneck(model: nn.Module, folder: Path) -> nn.Module:
    """Put the adapter in `folder` onto the model that it was trained on.

    Raises:
        UserError: the model has not got the parameters that the adapter has.
    """
    entries = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    del entries["peft_type"]
    config = BottleneckConfig(**entries | {"target_modules": tuple(entries["target_modules"])})
    there = BottleneckAdapted(model, config).model
    weights, parameters = load_file(folder / _WEIGHTS), dict(there.named_parameters())
    wrong = [name for name, value in weights.items() if name not in parameters or value.shape != parameters[name].shape]
    if wrong:
        raise UserError(f"The adapter in {folder} does not fit {type(model).__name__}, first in {wrong[0]}.")
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
    return there


def _width(module: nn.Module) -> int | None:
    """The width of what a linear layer answers with; None for any other module."""
    if isinstance(module, nn.Linear):
        return module.out_features
    # GPT-2's own linear layer.
    return int(module.nf) if type(module).__name__ == "Conv1D" else None  # type: ignore[arg-type]


def _targets(model: nn.Module) -> list[str]:
    # What PEFT knows of feed-forwards' last layers.
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as KNOWN

    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    if not KNOWN.get(model_type):
        raise UserError(
            f"It is not known where bottleneck adapters go in a model of type {model_type}. Say it: "
            "adapter.options.target_modules, a list of ends of the names of linear layers."
        )
    return list(KNOWN[model_type])
