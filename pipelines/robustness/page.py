"""A perturbation test as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
import re
from difflib import SequenceMatcher

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from pipelines.report.pictures import DPI
from pipelines.robustness.flips import Robustness
from pipelines.robustness.pictures import labels_figure, overview_figure, shown_labels

Piece = tuple[str, bool]
"""A piece of a text, and whether it was changed."""


def page(found: Robustness) -> str:
    """HTML, with the pictures inside it. It shows rows of the data only if examples were kept."""
    environment = Environment(
        loader=PackageLoader("pipelines.robustness"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    ranked = sorted(found.flips, key=lambda one: -(one.share.score if one.share else -1))
    return environment.get_template("page.html").render(
        found=found,
        ranked=ranked,
        overview=_inside(overview_figure(found)),
        labels=_inside(labels_figure(found)) if shown_labels(found.flips) else None,
        marked=marked,
    )


def marked(text: str, changed: str) -> list[Piece]:
    """The changed text, and which of its words and gaps the first text has not in their places."""
    before, after = _pieces(text), _pieces(changed)
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [("".join(after[begin:end]) or "\u2038", how != "equal") for how, _, _, begin, end in blocks]


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s+|\w+|[^\w\s]", text)


def _inside(figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, dpi=DPI)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
