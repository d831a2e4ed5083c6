"""How often a model says something else of a text that was changed a little, and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.data.examples import Array
from pipelines.evaluate.resample import Interval, interval
from pipelines.robustness.perturb import Perturbation
from pipelines.robustness.subject import Sentences, Subject

MOST_EXAMPLES = 5
"""Of each perturbation."""
Ask = Callable[[Sequence[Any]], list[Any]]
"""A predictor's answers to inputs."""


@dataclass(frozen=True, slots=True)
class LabelFlips:
    """What became of one label."""

    flipped: int
    said: int
    """How often it was said before, or only after."""
    before: float
    """Its F1."""
    after: float

    @property
    def rate(self) -> float:
        return self.flipped / max(1, self.said)


@dataclass(frozen=True, slots=True)
class Example:
    """A row of which something else is said."""

    row: int
    """Counted from 1."""
    text: str
    changed: str
    true: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Flips:
    """What one perturbation does."""

    name: str
    what: str
    rate: float
    """The share of what could be changed that was changed."""
    rows: int
    """That it changed; all others count with the answers that they have."""
    flipped: int
    said: int
    """Inputs or entities of the changed rows, see `Subject.of_what`."""
    share: Interval | None
    """Flipped of said, and between what it lies in 95 of 100 draws of as many rows; None if no row was changed."""
    score: float
    """The task's own, of all rows."""
    labels: dict[str, LabelFlips]
    examples: tuple[Example, ...]
    """The worst ones: what was right and is wrong comes first."""


@dataclass(frozen=True, slots=True)
class Robustness:
    model: str
    data: str
    split: str
    task: str
    rows: int
    seed: int
    of_what: str
    score_name: str
    score: float
    """Of the rows as they are."""
    flips: tuple[Flips, ...]
    """One for each perturbation."""

    def above(self, most: float) -> list[Flips]:
        """Perturbations with a higher share of flips."""
        return [one for one in self.flips if one.share is not None and one.share.score > most]

    def to_json(self) -> dict[str, Any]:
        """A tree of dicts, lists and numbers. It holds rows of the data only if examples were kept."""
        return asdict(self)


def measure(
    subject: Subject,
    rows: Sequence[Any],
    perturbations: Sequence[Perturbation],
    ask: Ask,
    *,
    seed: int,
    examples: bool,
    model: str,
    data: str,
    split: str,
    task: str,
) -> Robustness:
    """Ask for the rows as they are, then for those that each perturbation changes.

    Args:
        rows: labelled, at least one.
        examples: whether the worst ones are kept, which are rows of the data.
        model, data, split, task: what they are called.
    """
    raw = [subject.sentences(row) for row in rows]
    before = ask([subject.given(texts) for texts in raw])
    report = subject.report(rows, raw, before)
    usual = {label: score.f1 for label, score in subject.by_label(report).items()}
    found = []
    for one in perturbations:
        texts = [one.of(sentences, row=i, seed=seed) for i, sentences in enumerate(raw)]
        changed = [i for i in range(len(rows)) if _texts(texts[i]) != _texts(raw[i])]
        answers = dict(zip(changed, ask([subject.given(texts[i]) for i in changed]), strict=True))
        after = [answers.get(i, before[i]) for i in range(len(rows))]
        tallies = {i: subject.flips(before[i], after[i], texts[i], raw[i]) for i in changed}
        scored = subject.report(rows, texts, after)
        now = {label: score.f1 for label, score in subject.by_label(scored).items()}
        said, flipped = Counter[str](), Counter[str]()
        for i in changed:
            for label, has_changed in subject.said(before[i], after[i], texts[i], raw[i]):
                said[label] += 1
                flipped[label] += has_changed
        counts = np.array([(sum(row), len(row)) for row in tallies.values()], float).reshape(-1, 2)
        found.append(
            Flips(
                name=one.name,
                what=one.what,
                rate=one.rate,
                rows=len(changed),
                flipped=int(counts[:, 0].sum()),
                said=int(counts[:, 1].sum()),
                share=interval(counts, _share) if changed else None,
                score=scored.score,
                labels={
                    label: LabelFlips(flipped[label], said[label], usual.get(label, 0.0), now.get(label, 0.0))
                    for label in sorted({*usual, *now, *said})
                },
                examples=_worst(subject, rows, raw, texts, before, after, tallies) if examples else (),
            )
        )
    return Robustness(
        model, data, split, task, len(rows), seed, subject.of_what, report.score_name, report.score, tuple(found)
    )


def _share(sums: Array) -> Array:
    """Flipped of said, from sums [..., 2]."""
    share: Array = sums[..., 0] / np.maximum(sums[..., 1], 1)
    return share


def _texts(sentences: Sentences) -> list[str]:
    return [sentence.text for sentence in sentences]


def _worst(
    subject: Subject,
    rows: Sequence[Any],
    raw: Sequence[Sentences],
    texts: Sequence[Sentences],
    before: Sequence[Any],
    after: Sequence[Any],
    tallies: dict[int, list[bool]],
) -> tuple[Example, ...]:
    def harm(i: int) -> tuple[float, int]:
        was = subject.report([rows[i]], [raw[i]], [before[i]]).score
        now = subject.report([rows[i]], [texts[i]], [after[i]]).score
        return was - now, sum(tallies[i])

    flipped = sorted((i for i, row in tallies.items() if any(row)), key=harm, reverse=True)
    return tuple(
        Example(
            i + 1, " | ".join(_texts(raw[i])), " | ".join(_texts(texts[i])),
            subject.true(rows[i]), subject.told(before[i]), subject.told(after[i]),
        )
        for i in flipped[:MOST_EXAMPLES]
    )  # fmt: skip
