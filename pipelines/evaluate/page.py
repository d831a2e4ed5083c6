"""An evaluation as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from pipelines.evaluate.evaluation import Evaluation
from pipelines.evaluate.pictures import calibration_figure, slices_figure
from pipelines.report.pictures import DPI


def page(found: Evaluation) -> str:
    """HTML, with the pictures inside it. It shows rows of the data: the worst ones."""
    environment = Environment(
        loader=PackageLoader("pipelines.evaluate"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    kinds = list(dict.fromkeys(one.by for one in found.slices))
    slices = {by: [one for one in found.slices if one.by == by] for by in kinds}
    return environment.get_template("page.html").render(
        found=found,
        slices={by: _inside(slices_figure(some, found.report.score_name)) for by, some in slices.items()},
        calibration=None if found.calibration is None else _inside(calibration_figure(found.calibration)),
        drawn=_drawn(found),
    )


def _drawn(found: Evaluation) -> Sequence[str]:
    """The report's own pictures."""
    with tempfile.TemporaryDirectory() as folder:
        found.report.draw(Path(folder))
        return [_data(path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))]


def _inside(figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI)
    return _data(png.getvalue())


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
