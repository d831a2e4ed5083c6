"""A survey as a person wants to see it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.survey.survey import QUANTILES, Split, Survey

MOST_LABELS = 20


def show(found: Survey, console: Console) -> None:
    """Print counts, lengths, labels, duplicates, faults, and the token budget that the lengths suggest."""
    console.print(_lengths(found))
    if any(split.labels for split in found.splits.values()):
        console.print(_labels(found))
    for name, labels in found.unknown.items():
        console.print(f"{name} holds labels that train lacks: {escape(', '.join(labels[:MOST_LABELS]))}.")
    _duplicates(found, console)
    for name, split in found.splits.items():
        _faults(name, split, console)
    _budget(found, console)
    verdict = "; ".join(found.refused)
    console.print(f"A training would refuse this data: {verdict}." if verdict else "A training can use this data.")


def _lengths(found: Survey) -> Table:
    table = Table("split", title=f"Rows, and the lengths of their examples in sub-words (at most {found.longest:,})")
    faults = ("in pieces", "cut", "unseen", "unreadable")
    for header in ("rows", "examples", "sub-words", *map(_named, QUANTILES), *faults):
        table.add_column(header, justify="right")
    for name, split in found.splits.items():
        counts = (split.num_rows, len(split.lengths), sum(split.lengths))
        more = (split.num_in_pieces, split.num_cut, split.num_unseen, split.num_faults)
        lengths = split.quantiles or dict.fromkeys(QUANTILES, 0)
        table.add_row(name, *(f"{n:,}" for n in (*counts, *lengths.values(), *more)))
    return table


def _named(share: float) -> str:
    return {0.0: "least", 0.5: "median", 1.0: "most"}.get(share, f"{100 * share:g} %")


def _labels(found: Survey) -> Table:
    table = Table("label", title="Labels")
    for name in found.splits:
        table.add_column(name, justify="right")
    order = sorted(
        {label for split in found.splits.values() for label in split.labels},
        key=lambda label: (-found.splits["train"].labels[label], label),
    )
    for label in order[:MOST_LABELS]:
        counts = [(split.labels[label], max(1, split.labels.total())) for split in found.splits.values()]
        table.add_row(escape(label), *(f"{count:,} ({count / total:.1%})" for count, total in counts))
    if len(order) > MOST_LABELS:
        table.caption = f"and {len(order) - MOST_LABELS:,} more"
    return table


def _duplicates(found: Survey, console: Console) -> None:
    if not found.duplicates:
        console.print("No row is there twice.")
    for one in found.duplicates:
        where = "again in the same split" if one.split == one.first_in else f"in {one.first_in} too"
        answers = f", {one.other_answer:,} of them with another answer" if one.other_answer else ""
        console.print(f"{one.rows:,} rows of {one.split} are {where}{answers}: {escape('; '.join(one.places[:3]))}.")


def _faults(name: str, split: Split, console: Console) -> None:
    for fault in split.faults:
        console.print(f"{name}: {escape(fault)}", highlight=False)
    if split.num_faults > len(split.faults):
        console.print(f"{name}: {split.num_faults - len(split.faults):,} more cannot be read.")
    if split.ended_early:
        console.print(f"{name}: what is behind that was not read.")


def _budget(found: Survey, console: Console) -> None:
    budget = found.budget
    if budget is None:
        return
    console.print(
        f"token budget: train.token_budget={budget.suggested} has room for the {budget.micro_batches} micro-batches of "
        f"every batch of the first epoch ({budget.num_steps:,} steps, {budget.padding:.1%} padding); "
        f"{budget.usual} for 99 of 100. With {budget.given}, {budget.split_more:,} batches are split further.",
        highlight=False,
    )
