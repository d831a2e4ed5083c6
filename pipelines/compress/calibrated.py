"""A graph whose weights and activations are whole numbers of 8 bits, by scales that were measured on rows."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.compress.beside import copy_beside
from pipelines.config import DataConfig
from pipelines.data.pack import merge, pack
from pipelines.data.read import read_split
from pipelines.data.sources import train_source
from pipelines.errors import UserError
from pipelines.evaluate.answer import check_labels, labels_of
from pipelines.inference.facts import FILE, read_facts
from pipelines.inference.network import GRAPH, OPENVINO, RUNTIME
from pipelines.tasks import make_task

ROWS = 300
"""Whose activations are looked at; NNCF's own number."""


def can_calibrate() -> bool:
    """Whether what measures the scales, and what runs the graph, are installed."""
    return find_spec("nncf") is not None and find_spec("openvino") is not None


def calibration_source(given: str | None, splits: Mapping[str, str], tell: Callable[[str], None]) -> str | None:
    """Where the rows come from: what is given, or else the training split; nothing where this form cannot be made.

    Raises:
        UserError: there are no such rows.
    """
    if given is not None:
        return train_source(given)
    if not can_calibrate():
        tell("no form for OpenVINO: it is not installed (pip install 'motley[openvino]')")
    elif "train" not in splits:
        tell("no form for OpenVINO: give it other rows than those to score on with --calibrate")
    else:
        return splits["train"]
    return None


def quantise_calibrated(folder: Path, out: Path, *, source: str, data: DataConfig) -> None:
    """Write the graph of `folder` with int8 weights and activations, for OpenVINO, to the new folder `out`.

    Outliers are moved from activations to weights before (SmoothQuant, Xiao et al. 2023), and what rounding shifts in
    the mean is added to biases after (Nagel et al. 2019, section 4.2).

    Args:
        source: rows of the task's kind; what they are labelled with is not looked at.

    Raises:
        UserError: what is needed is not installed, the rows cannot be used, or the graph cannot be quantised.
    """
    if not can_calibrate():
        raise UserError("OpenVINO's form needs nncf and openvino: pip install 'motley[openvino]'.")
    import onnx

    rows = _rows(folder, source=source, data=data)
    graph = onnx.load(str(folder / GRAPH))
    names = [one.name for one in graph.graph.input]
    with _nncf() as nncf:
        try:
            calibration = nncf.Dataset(rows, lambda row: {name: row[name] for name in names})
            made = nncf.quantize(graph, calibration, subset_size=len(rows), model_type=nncf.ModelType.TRANSFORMER)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"The graph in {folder} cannot be quantised: {str(error).splitlines()[0]}") from error
    copy_beside(folder, out)
    onnx.save(made, str(out / GRAPH))
    facts = read_facts(folder) | {RUNTIME: OPENVINO}
    (out / FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False), encoding="utf-8")


def _rows(folder: Path, *, source: str, data: DataConfig) -> list[dict[str, np.ndarray[Any, Any]]]:
    """What the graph takes of rows from all over the source, each by itself: padding would be measured with it."""
    facts = read_facts(folder)
    task = make_task(str(facts["task"]))
    processor, labels = task.load_processor(str(folder)), labels_of(folder)
    table = read_split(source, split="train", data=data, kind=task.kind)
    check_labels(table.labels, labels, source=source, split="train")
    chosen = table.rows[:: max(1, len(table.rows) // ROWS)][:ROWS]
    encoded = task.encode(chosen, processor, labels, min(data.max_length, int(facts["longest"])))
    padding = task.padding(processor)
    merged = (merge([pack([encoded[n]], range(1))], padding) for n in range(len(encoded)))
    return [{name: column.numpy() for name, column in task.inputs(one).items()} for one in merged]


@contextmanager
def _nncf() -> Iterator[Any]:
    """NNCF, which draws its progress on stdout, and would tell its makers that it is used."""
    os.environ["NNCF_CI"] = "1"
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):
        yield nncf
