"""Makes the smaller forms of a model, and says which of them is worth serving here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.compress.calibrated import calibration_source, quantise_calibrated
from pipelines.compress.graph import export
from pipelines.compress.half import LEFT_OUT, halve, pays_here
from pipelines.compress.int8 import quantise
from pipelines.compress.sparse import leave_out_zeros, saves
from pipelines.compress.trial import Form, measure_forms
from pipelines.compress.trim import Trimmed, trim
from pipelines.config import DataConfig
from pipelines.data.sources import train_source
from pipelines.errors import UserError

PLAIN, TRIMMED, HALF, SPARSE = "fp32", "trimmed", "bfloat16", "sparse"
GRAPH, INT8, OPENVINO = "graph", "int8", "openvino"
FASTER = 1.05
"""Less than this is noise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A form against what it was made of."""

    form: Form
    lost: float
    """Of the score, as a share of 1; negative where it gained."""
    speed: float
    """Sub-words a second, as a multiple of the plain model's."""
    latency: float
    """Of a row by itself, as a part of the plain model's."""
    size: float
    """As a part of the plain model's."""
    accepted: bool
    why: str


@dataclass(frozen=True, slots=True)
class Compressed:
    plain: Form
    verdicts: tuple[Verdict, ...]
    most_lost: float
    threads: int
    trimmed: Trimmed | None = None
    """What was left of the vocabulary, where it was trimmed."""

    @property
    def chosen(self) -> Verdict | None:
        """The fastest of those that were accepted."""
        accepted = [one for one in self.verdicts if one.accepted]
        return max(accepted, key=lambda one: one.speed, default=None)

    def to_json(self) -> dict[str, Any]:
        made = asdict(self)
        for one in (made["plain"], *(verdict["form"] for verdict in made["verdicts"])):
            one["folder"] = str(one["folder"])
        return made | {"chosen": None if self.chosen is None else self.chosen.form.name}


def compress(
    folder: Path,
    out: Path,
    *,
    splits: Mapping[str, str],
    split: str,
    data: DataConfig,
    threads: int,
    most_lost: float,
    tell: Callable[[str], None],
    trim_by: str | None = None,
    calibrate_by: str | None = None,
) -> Compressed:
    """Write smaller forms of the model in `folder` to folders in `out`, and measure them beside it.

    Args:
        splits: the sources of the data's splits.
        split: the one to score on.
        most_lost: of the score, as a share of 1: a form that loses more is not accepted.
        trim_by: rows of the task's kind, by whose sub-words the vocabulary is trimmed first; the graphs are of that.
        calibrate_by: rows by which the int8 graph for OpenVINO is scaled, in the place of those of train.

    Raises:
        UserError: the model cannot be a graph, or the data cannot be used.
    """
    texts = None if trim_by is None else train_source(trim_by)
    calibration = calibration_source(calibrate_by, splits, tell)
    wanted = [*([] if texts is None else [TRIMMED]), *([HALF] if pays_here() else [])]
    wanted += [*([SPARSE] if saves(folder) else []), GRAPH, INT8, *([] if calibration is None else [OPENVINO])]
    for name in wanted:
        if (out / name).exists():
            raise UserError(f"{out / name} exists: remove it, or give another folder with --out.")
    left = None
    if texts is not None:
        tell("trimming the vocabulary")
        left = trim(folder, out / TRIMMED, source=texts, data=data)
        tell(f"{left.after:,} of {left.before:,} sub-words stay")
    source = folder if left is None else out / TRIMMED
    if HALF in wanted:
        tell("writing it in bfloat16")
        halve(source, out / HALF)
    else:
        tell(LEFT_OUT)
    if SPARSE in wanted:
        tell("leaving the zeros out")
        leave_out_zeros(source, out / SPARSE)
    tell("exporting the graph")
    export(source, out / GRAPH)
    tell("quantising it to int8")
    quantise(out / GRAPH, out / INT8)
    if calibration is not None:
        tell("measuring activations for OpenVINO's int8")
        quantise_calibrated(out / GRAPH, out / OPENVINO, source=calibration, data=data)
    tell("scoring and timing")
    folders = {PLAIN: folder} | {name: out / name for name in wanted}
    plain, *others = measure_forms(folders, source=splits[split], split=split, data=data, threads=threads)
    return Compressed(plain, tuple(judge(plain, one, most_lost) for one in others), most_lost, threads, left)


def judge(plain: Form, form: Form, most_lost: float) -> Verdict:
    """Whether a form is worth having: it loses little, and is faster or smaller here."""
    lost, speed, size = (
        plain.score - form.score,
        form.tokens_per_second / plain.tokens_per_second,
        form.bytes / plain.bytes,
    )
    faster, smaller = speed >= FASTER or form.latency * FASTER <= plain.latency, size * FASTER <= 1
    if lost > most_lost:
        why = f"loses {100 * lost:.2f} points, and {100 * most_lost:.2f} are allowed"
    elif not faster and not smaller:
        why = "neither faster nor smaller here"
    else:
        why = " and ".join(word for word, holds in (("faster", faster), ("smaller", smaller)) if holds)
    return Verdict(
        form, lost, speed, form.latency / plain.latency, size, lost <= most_lost and (faster or smaller), why
    )
