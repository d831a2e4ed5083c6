"""A graph whose weights are whole numbers of 8 bits, and whose activations become such while it runs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.compress.beside import copy_beside
from pipelines.errors import UserError
from pipelines.inference.network import GRAPH


def quantise(folder: Path, out: Path) -> None:
    """Write the graph of `folder` with int8 weights, a scale for each row of a matrix, to the new folder `out`.

    Raises:
        UserError: ONNX Runtime cannot quantise it.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    copy_beside(folder, out)
    graph = onnx.load(str(folder / GRAPH))
    # Shapes that the exporter noted are no longer those of the transposed weights.
    del graph.graph.value_info[:]
    stripped = out / f"stripped-{GRAPH}"
    try:
        onnx.save(graph, str(stripped))
        with _quiet():
            quantize_dynamic(
                str(stripped), str(out / GRAPH), per_channel=True, weight_type=QuantType.QInt8,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        shutil.rmtree(out)
        raise UserError(f"The graph in {folder} cannot be quantised: {str(error).splitlines()[0]}") from error
    finally:
        stripped.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """It advises a preparation that changes nothing here, through the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
