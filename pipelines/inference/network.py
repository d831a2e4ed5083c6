"""What a predictor asks: a model of transformers, or the same model as an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig

from pipelines.errors import UserError
from pipelines.inference.facts import read_facts

GRAPH = "model.onnx"
"""The graph in a model's folder, in the place of its safetensors."""


class Network(Protocol):
    """What predictors of whole texts and of words need of a model."""

    @property
    def config(self) -> Any: ...

    @property
    def device(self) -> Any: ...

    def eval(self) -> Any: ...

    def __call__(self, **inputs: Tensor) -> Any:
        """Has `logits`."""


@dataclass(frozen=True, slots=True)
class Answered:
    logits: Tensor


class OnnxNetwork:
    """A graph that pipelines/compress exported, run by ONNX Runtime."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """
        Args:
            threads: of this session; torch's own number does not hold for it.

        Raises:
            UserError: the graph cannot be read.
        """
        # Imported here: it is needed only for models that were compressed.
        import onnxruntime

        self.config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.device = torch.device("cpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Lengths change with every pass: buffers for all that there were would only grow.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # ONNX Runtime's errors have no common class.
            raise UserError(f"{folder / GRAPH} cannot be read: {str(error).splitlines()[0]} Export it anew.") from None
        self._names = [one.name for one in self._session.get_inputs()]
        longest = read_facts(folder).get("longest")
        if not isinstance(longest, int):
            raise UserError(f"{folder} does not say how long a text its graph reads (task.json): export it anew.")
        self.longest = longest
        """Sub-words that it reads in one piece, special ones among them."""

    def eval(self) -> OnnxNetwork:
        return self

    def __call__(self, **inputs: Tensor) -> Answered:
        given = {name: inputs[name].numpy() for name in self._names}
        return Answered(torch.from_numpy(self._session.run(None, given)[0]))
