"""A trained model as an ONNX graph: any number of rows, of any length."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipelines.compress.beside import copy_beside
from pipelines.errors import UserError
from pipelines.inference.facts import FILE, read_facts
from pipelines.inference.network import GRAPH, OnnxNetwork
from pipelines.inference.predictor import longest_input, read_model
from pipelines.tasks import make_task

TASKS = ("token-classification", "sequence-classification", "multi-label-classification", "regression")
"""Of which a model can be a graph: one pass answers, and what it answers with is `logits`."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SHAPES = ((1, 5), (2, 9), (3, 17))
"""Rows and lengths at which graph and model are compared; none of them is the one it is traced with."""
TRACED = (2, 12)
LARGEST_ERROR = 1e-3
"""Of a logit: another order of sums, in float32."""
OPSET = 17


def export(folder: Path, out: Path) -> None:
    """Write the model in `folder` as a graph to the new folder `out`, with its tokenizer and what it says of itself.

    Raises:
        UserError: no model of a task that can be one, it cannot be traced, or the graph answers otherwise.
    """
    task = read_facts(folder).get("task")
    if task not in TASKS:
        raise UserError(f"{folder} was trained for {task!r}; a graph can be made for {', '.join(TASKS)}.")
    # Plain attention: what ONNX Runtime knows to be attention, and what depends on no shape while it is traced.
    model, tokenizer = read_model(
        folder, make_task(task).auto_class, device="cpu", threads=torch.get_num_threads(), attention="eager"
    )
    takes = signature(model.forward).parameters
    names = [name for name in INPUTS if name in tokenizer.model_input_names and name in takes]
    copy_beside(folder, out)
    facts = read_facts(folder) | {"longest": longest_input(model, tokenizer)}
    (out / FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")
    _trace(model, names, _batch(tokenizer, *TRACED, names), out / GRAPH)
    _compare(model, OnnxNetwork(out, device="cpu", threads=torch.get_num_threads()), tokenizer, names)


class _Logits(torch.nn.Module):
    """The model as a function of tensors in a fixed order."""

    def __init__(self, model: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self._model, self._names = model, names

    def forward(self, *inputs: Tensor) -> Any:
        return self._model(**dict(zip(self._names, inputs, strict=True))).logits


def _trace(model: PreTrainedModel, names: list[str], batch: Mapping[str, Tensor], path: Path) -> None:
    rows: dict[int, str] = {0: "rows"}
    axes = {name: rows | {1: "length"} for name in names}
    with warnings.catch_warnings():
        # It warns of every shape that it looks at; whether one was burnt in is compared afterwards.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                # eval() of the wrapper too, or the export sets the model back to training.
                _Logits(model, names).eval(),
                tuple(batch[name] for name in names),
                str(path),
                input_names=names,
                output_names=["logits"],
                dynamic_axes=axes | {"logits": rows},
                opset_version=OPSET,
                # The newer exporter takes ten times as long, and ONNX Runtime recognises less of what it writes:
                # int8 graphs of MiniLM were 5 % slower.
                dynamo=False,
            )
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{type(model).__name__} cannot be traced to a graph: {reason}") from error


def _batch(tokenizer: PreTrainedTokenizerFast, rows: int, length: int, names: list[str]) -> dict[str, Tensor]:
    """Random sub-words; each row but the first is padded."""
    draw = torch.Generator().manual_seed(rows * 1000 + length)
    made = {
        "input_ids": torch.randint(len(tokenizer), (rows, length), generator=draw),
        "attention_mask": torch.ones(rows, length, dtype=torch.int64),
        "token_type_ids": torch.zeros(rows, length, dtype=torch.int64),
    }
    for row in range(1, rows):
        made["attention_mask"][row, -row:] = 0
        made["input_ids"][row, -row:] = tokenizer.pad_token_id or 0
    return {name: made[name] for name in names}


def _compare(model: PreTrainedModel, graph: OnnxNetwork, tokenizer: PreTrainedTokenizerFast, names: list[str]) -> None:
    for rows, length in SHAPES:
        batch = _batch(tokenizer, rows, length, names)
        with torch.inference_mode():
            expected = model(**batch).logits
        error = float((graph(**batch).logits - expected).abs().max())
        if not error <= LARGEST_ERROR:
            raise UserError(
                f"The graph of {type(model).__name__} answers otherwise than the model, by {error:.2g} for {rows} rows "
                f"of {length} sub-words: this architecture cannot be traced."
            )
