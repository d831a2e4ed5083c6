"""What a predictor asks: a model of transformers, or the same model as an ONNX graph."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoConfig, PretrainedConfig

from pipelines.errors import UserError
from pipelines.inference.facts import read_facts

GRAPH = "model.onnx"
"""The graph in a model's folder, in the place of its safetensors."""
RUNTIME = "runtime"
"""Of the folder's facts: what runs its graph."""
ONNX_RUNTIME, OPENVINO = "onnxruntime", "openvino"
ON_CPUS, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
"""What ONNX Runtime computes with."""
STEP = 8
"""Sub-words that lengths are rounded up to: OpenVINO prepares itself for every shape, which takes time and memory."""


class Network(Protocol):
    """What predictors of whole texts and of words need of a model."""

    @property
    def config(self) -> Any: ...

    @property
    def device(self) -> Any: ...

    def eval(self) -> Any: ...

    def __call__(self, **inputs: Tensor) -> Any:
        """Has `logits`."""


class Elsewhere:
    """Mixed into the class of a model whose forward is computed elsewhere (elsewhere.py)."""


def is_here(model: Network) -> bool:
    """Whether it is a model of transformers with its weights, which can be asked for gradients."""
    return isinstance(model, nn.Module) and not isinstance(model, Elsewhere)


@dataclass(frozen=True, slots=True)
class Answered:
    logits: Tensor


class GraphNetwork:
    """A graph that pipelines/compress wrote; what runs it is in a class below."""

    device = torch.device("cpu")
    """Where it takes what it is given, and leaves what it answers."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: the folder does not say what it must of its graph.
        """
        self.config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
        longest = read_facts(folder).get("longest")
        if not isinstance(longest, int):
            raise UserError(f"{folder} does not say how long a text its graph reads (task.json): export it anew.")
        self.longest = longest
        """Sub-words that it reads in one piece, special ones among them."""

    def eval(self) -> GraphNetwork:
        return self

    def __call__(self, **inputs: Tensor) -> Answered:
        raise NotImplementedError


def read_graph(folder: Path, *, device: str = "cpu", threads: int) -> GraphNetwork:
    """The graph in a model's folder, ready to answer.

    Args:
        device: that it computes on, as torch names it.
        threads: of this graph; torch's own number does not hold for it.

    Raises:
        UserError: the graph cannot be read, or what runs it is not installed or not for this device.
    """
    if runtime_of(folder) == ONNX_RUNTIME:
        return OnnxNetwork(folder, device=device, threads=threads)
    if device != "cpu":
        raise UserError(f"OpenVINO runs the graph in {folder}, on CPUs only: serve it with serve.device=cpu.")
    return OpenVinoNetwork(folder, threads=threads)


def runtime_of(folder: Path) -> str:
    """What runs the graph in a model's folder: the name of a package.

    Raises:
        UserError: the folder names one that is not known.
    """
    runtime = read_facts(folder).get(RUNTIME, ONNX_RUNTIME)
    if runtime not in (ONNX_RUNTIME, OPENVINO):
        raise UserError(f"{folder} says that {runtime!r} runs its graph (task.json): {ONNX_RUNTIME} or {OPENVINO} can.")
    return str(runtime)


class OnnxNetwork(GraphNetwork):
    """A graph run by ONNX Runtime."""

    def __init__(self, folder: Path, *, device: str, threads: int) -> None:
        """As `read_graph`."""
        # Imported here: it is needed only for models that were compressed.
        import onnxruntime

        super().__init__(folder)
        wanted = CUDA if device != "cpu" else ON_CPUS
        if wanted not in (there := onnxruntime.get_available_providers()):
            raise UserError(
                f"The ONNX Runtime that is installed runs no graph on a GPU (it has {', '.join(there)}): install "
                "onnxruntime-gpu in the place of onnxruntime, or serve the model in safetensors."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Lengths change with every pass: buffers for all that there were would only grow.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / GRAPH),
                options,
                # What has no kernel on a GPU is run on the CPU.
                providers=[wanted] if wanted == ON_CPUS else [wanted, ON_CPUS],
                # Its one kernel for both takes longer than an addition and a normalisation do: a seventh of a pass of
                # MiniLM in int8, by ONNX Runtime's own profile.
                disabled_optimizers=["SkipLayerNormFusion"],
            )
        except Exception as error:
            # ONNX Runtime's errors have no common class.
            raise unreadable(folder, error) from None
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, **inputs: Tensor) -> Answered:
        given = {name: inputs[name].numpy() for name in self._names}
        return Answered(torch.from_numpy(self._session.run(None, given)[0]))


class OpenVinoNetwork(GraphNetwork):
    """A graph run by OpenVINO."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """As `read_graph`."""
        try:
            import openvino
        except ImportError:
            raise UserError(f"OpenVINO runs the graph in {folder}: pip install 'motley[openvino]'.") from None

        super().__init__(folder)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Else the threads of two workers on a machine may be tied to the same cores.
            "ENABLE_CPU_PINNING": False,
            # In bf16, which it takes by itself where the chip has it, answers would depend on the machine.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = openvino.Core().compile_model(str(folder / GRAPH), "CPU", options)
        except RuntimeError as error:
            raise unreadable(folder, error) from None
        self._request = compiled.create_infer_request()
        self._names = [one.get_any_name() for one in compiled.inputs]
        # A request holds the tensors of one pass.
        self._one_at_a_time = threading.Lock()

    def __call__(self, **inputs: Tensor) -> Answered:
        length = inputs[self._names[0]].shape[1]
        more = min(-length % STEP, self.longest - length)
        given = {name: pad(inputs[name], (0, more)).numpy() for name in self._names}
        with self._one_at_a_time:
            logits = torch.from_numpy(self._request.infer(given, share_inputs=True)[0])
        # [rows, classes] of whole texts, [rows, length, classes] of words.
        return Answered(logits[:, :length] if logits.ndim == 3 else logits)


def unreadable(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder / GRAPH} cannot be read: {str(error).splitlines()[0]} Export it anew.")
