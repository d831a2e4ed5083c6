"""What a config leaves to the planner of how a step runs: how many micro-batches, and whether blocks are run again.

    train.micro_batches: auto ──▶ 1, 2, 4, ... ──▶ the run's own shapes for each ──▶ planned, the least is taken
    train.recompute: auto     ──▶ without; only where nothing fits so, with      ──▶ measured anew

Numbers that the token budget makes the same are tried once. Running blocks again costs about a forward more, so it is
tried only where it is needed; to measure both would take twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.config import Config, TrainConfig
from pipelines.errors import UserError
from pipelines.plan.choose import Choice
from pipelines.plan.measured import Shape

UNPLANNED = 4
"""Micro-batches of a batch where the number is left open and nothing is planned."""
MOST = 32
"""More are not tried."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run's steps are with one number of micro-batches."""

    micro_batches: int
    """Of a batch, as `train.micro_batches`; the token budget may make more."""
    steps: tuple[tuple[Shape, ...], ...]
    """Some steps of an epoch."""
    largest: Shape
    """Of all micro-batches of the epoch."""


class Planner(Protocol):
    """A Chooser, as far as it is needed here."""

    def choose(self, steps: Sequence[Sequence[Shape]], largest: Shape | None = None) -> Choice: ...


def numbers(train: TrainConfig) -> tuple[int, ...]:
    """The numbers of micro-batches to try: that of the config, or powers of two up to the batch size and MOST."""
    if train.micro_batches != "auto":
        return (train.micro_batches,)
    most = min(train.batch_size, MOST)
    return tuple(2**k for k in range(most.bit_length()))


def recomputes(train: TrainConfig, *, blocks: bool) -> tuple[bool, ...]:
    """Whether blocks are run again: what to try, in this order.

    Args:
        blocks: whether the model has any.
    """
    if train.recompute != "auto":
        return (train.recompute,)
    return (False, True) if blocks else (False,)


def decided(config: Config, *, micro_batches: int = UNPLANNED, recompute: bool = False) -> Config:
    """The config with nothing left open: what it says goes before what is given here."""
    config = with_recompute(config, recompute=recompute)
    if config.train.micro_batches != "auto":
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"micro_batches": micro_batches})})


def with_recompute(config: Config, *, recompute: bool) -> Config:
    """The config with blocks run again or not, where it leaves that open."""
    if config.train.recompute != "auto":
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"recompute": recompute})})


def best(
    planner: Callable[[bool], Planner],
    works: Sequence[Work],
    recompute: Sequence[bool],
    tell: Callable[[float], str],
) -> Choice:
    """The plan that makes the objective least, over all numbers of micro-batches; it says what was left open, and why.

    Args:
        planner: of a model whose blocks are run again, or are not; measures it.
        recompute: the first of these with which anything fits is taken.
        tell: a value of the objective for a person.

    Raises:
        UserError: nothing fits; says what comes closest for the last that was tried.
    """
    tried = list({(work.steps, work.largest): work for work in reversed(works)}.values())[::-1]
    refused: dict[bool, UserError] = {}
    for again in recompute:
        planned = planner(again)
        choices: dict[int, Choice] = {}
        for work in tried:
            try:
                choices[work.micro_batches] = planned.choose(work.steps, work.largest)
            except UserError as error:
                refused[again] = error
        if choices:
            number = min(choices, key=lambda number: choices[number].value)
            why = [_why_number(number, choices, tried, tell)] if len(tried) > 1 else []
            if again and False in refused:
                why.append(f"blocks are run again; without: {str(refused[False]).partition('. ')[0]}.")
            plan = replace(choices[number].plan, micro_batches=number, recompute=again, left_open=tuple(why))
            return replace(choices[number], plan=plan)
    last = refused[recompute[-1]]
    if len(tried) == len(recompute) == 1:
        raise last
    raise UserError(
        f"{last} That is with train.micro_batches={tried[-1].micro_batches} and train.recompute="
        f"{str(recompute[-1]).lower()}; nothing else that was tried fits either."
    )


def _why_number(number: int, choices: Mapping[int, Choice], tried: Sequence[Work], tell: Callable[[float], str]) -> str:
    others = [f"{tell(choice.value)} with {n}" for n, choice in choices.items() if n != number]
    no_plan = [str(work.micro_batches) for work in tried if work.micro_batches not in choices]
    if no_plan:
        others.append(f"no plan with {' or '.join(no_plan)}")
    word = "micro-batch" if number == 1 else "micro-batches"
    return f"{number} {word} of every batch: {tell(choices[number].value)} a step, {', '.join(others)}."
