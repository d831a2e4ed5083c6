"""An evaluation for the terminal."""

from __future__ import annotations

from pipelines.evaluate.evaluation import Evaluation


def lines(found: Evaluation) -> list[str]:
    """The report, how sure it is, and the comparison; slices and rows are for the page."""
    name = found.report.score_name
    shown = [found.report.table(), "", f"{name} {found.overall}, 95 of 100 draws of as many rows"]
    if found.calibration is not None:
        shown.append(f"expected calibration error {found.calibration.ece:.4f}")
    if found.comparison is not None:
        other = found.comparison
        shown.append(
            f"{found.against}: {name} {other.theirs:.4f}; difference {other.difference}, p = {other.p:.4f} if both "
            "were alike"
        )
    return shown
