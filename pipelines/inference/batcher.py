"""Requests share passes through the model: sorted by length here, computed by workers in processes of their own.

request --.                                  .--> worker --.
request ---+--> waiting, by length (Former) -+              >--> answers
request --'                                  '--> worker --'
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.inference.deadlines import REQUEST_TIMEOUT, deadline
from pipelines.inference.former import Former, Waiting, pass_seconds
from pipelines.inference.groups import Computed, Group, Groups, WorkerLost
from pipelines.inference.predictor import LONGEST_WINDOW, texts_in
from pipelines.traces.spans import Parent, here

MOST_LOST = 3
"""Workers that an input may take with it before it is taken for the cause."""


class Overloaded(Exception):
    """More waits already than can be answered in time."""

    def __init__(self, seconds: float, limit: float) -> None:
        """
        Args:
            limit: seconds of work that may wait.
        """
        super().__init__(f"{seconds:.1f} s of work wait already, and {self._but(limit)}")
        self.seconds = seconds
        """Until what waits now is answered."""

    def _but(self, limit: float) -> str:
        return (
            f"this endpoint takes on no more than {limit:g} s (serve.max_wait_seconds): ask again later, or add "
            "replicas."
        )


class TooLate(Overloaded):
    """More waits already than the request's deadline leaves time for."""

    def _but(self, limit: float) -> str:
        return f"this request has {limit:.3g} s left ({REQUEST_TIMEOUT}): ask again later, or give it longer."


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass through the model."""

    computed: Computed
    waited: float
    """Seconds from when the oldest of its inputs came until the pass was sent."""


@dataclass(slots=True)
class _Open:
    """An input that waits for its answer."""

    given: Any
    answer: asyncio.Future[Any]
    num_bytes: int
    came: float
    parent: Parent | None = None
    """The request that it is of, where traces are made."""
    queued: int = 0
    """When it began to wait, in nanoseconds since 1970."""
    waiting: Waiting | None = None
    """Its place, while it waits and in the pass that it then goes into."""
    lost: int = 0
    """Workers that ended while they computed it."""


def num_bytes(given: Any) -> int:
    """Of all texts in an input, in UTF-8."""
    return sum(len(text.encode(errors="replace")) for text in texts_in(given))


class Batcher:
    """Belongs to the event loop in which it is first asked."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        most: int,
        wait: float,
        patience: float,
        told: Callable[[Pass], None] = lambda _: None,
        lost: Callable[[int], None] = lambda _: None,
    ) -> None:
        """
        Args:
            groups: of the workers.
            most: inputs in one pass.
            wait: as of `Groups`.
            patience: seconds of work that may wait; what comes then is refused.
            told: of every pass that was computed.
            lost: of every worker that ended in a pass, with the number of its inputs.
        """
        self._groups, self._patience = Groups(groups, wait=wait), patience
        self._told, self._lost = told, lost
        self._former = Former(most=most)
        self._open: dict[int, _Open] = {}
        self._number = 0
        self._alone = True
        """Whether the last pass had one input only and none waited behind it: then others are not waited for."""
        self._per_byte = 0.25
        """Sub-words that a byte of text makes, as passes have shown: English and Chinese texts are alike in it."""
        self._changed = asyncio.Event()
        """Something came, or a worker is free."""
        self._sending: asyncio.Task[None] | None = None
        self._passes: set[asyncio.Task[None]] = set()

    @property
    def num_waiting(self) -> int:
        """Inputs that are in no pass yet."""
        return len(self._former)

    @property
    def seconds_waiting(self) -> float:
        """What all workers together need for them."""
        return self._groups.seconds(self._former)

    def close(self) -> None:
        """For a batcher that nobody waits for any more."""
        if self._sending is not None:
            self._sending.cancel()

    async def answer(self, inputs: Sequence[Any]) -> list[Any | None]:
        """An output for each input; None for one that the model failed on.

        Raises:
            Overloaded: too much waits, for this batcher or (TooLate) for the request's deadline; nothing was done.
        """
        if (seconds := self.seconds_waiting) > self._patience:
            raise Overloaded(seconds, self._patience)
        if (by := deadline()) is not None and seconds > by.left > 0:
            raise TooLate(seconds, by.left)
        loop = asyncio.get_running_loop()
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send())
        parent = here()
        opened = [_Open(given, loop.create_future(), num_bytes(given), loop.time(), parent) for given in inputs]
        for one in opened:
            self._put(one)
        try:
            return list(await asyncio.gather(*(one.answer for one in opened)))
        except asyncio.CancelledError:
            for one in opened:
                one.answer.cancel()
                self._withdraw(one)
            raise

    def _put(self, one: _Open) -> None:
        self._number += 1
        one.queued = time.time_ns()
        self._open[self._number] = one
        whole = 2 + math.ceil(self._per_byte * one.num_bytes)
        # Longer ones are read in windows, or cut.
        one.waiting = Waiting(min(whole, LONGEST_WINDOW), self._number, math.ceil(whole / LONGEST_WINDOW))
        self._former.add(one.waiting)
        self._changed.set()

    def _withdraw(self, one: _Open) -> None:
        """Who has gone away, or whose time is over, counts no more in what the queue is said to take."""
        if one.waiting is not None and self._open.pop(one.waiting.number, None) is not None:
            self._former.drop(one.waiting)

    async def _send(self) -> None:
        while True:
            await self._changed.wait()
            if not self._alone:
                await self._gather()
            self._changed.clear()
            now = asyncio.get_running_loop().time
            while (group := self._groups.next(self._former, now())) is not None:
                self._send_one(group)

    def _send_one(self, group: Group) -> None:
        taken = [self._open.pop(number) for number in self._former.take(group.cost)]
        # Who has gone away needs no answer.
        wanted = [one for one in taken if not one.answer.done()]
        if not wanted:
            return
        self._alone = len(taken) == 1 and not len(self._former)
        # Those that were there when a worker ended are asked one by one, so that only the cause of it fails.
        apart = [[one] for one in wanted if one.lost > 1]
        together = [one for one in wanted if one.lost <= 1]
        for some in [*([together] if together else []), *apart]:
            task = asyncio.get_running_loop().create_task(self._pass(some, group, self._begin(some, group)))
            self._passes.add(task)
            task.add_done_callback(self._passes.discard)

    def _begin(self, some: list[_Open], group: Group) -> float:
        """Count a pass that is sent; returns when its worker ought to be done with it."""
        loop = asyncio.get_running_loop()
        pieces = [one.waiting for one in some if one.waiting is not None]
        due = group.begin(pass_seconds(pieces, group.cost), loop.time())
        loop.call_at(due - self._groups.lead(group), self._changed.set)
        return due

    async def _pass(self, some: list[_Open], group: Group, due: float) -> None:
        now = asyncio.get_running_loop().time
        waited = now() - min(one.came for one in some)
        try:
            computed = await group.run([one.given for one in some], _end_of_queue(some))
        except WorkerLost:
            self._lost(len(some))
            self._again(some)
            return
        except BaseException as error:
            for one in some:
                if not one.answer.done():
                    one.answer.set_exception(RuntimeError(f"a pass failed: {type(error).__name__}"))
            if not isinstance(error, Exception):
                raise
            return
        finally:
            group.end(due)
            self._changed.set()
        self._learn(some, computed)
        for one, output in zip(some, computed.outputs, strict=True):
            if not one.answer.done():
                one.answer.set_result(output)
        self._told(Pass(computed, waited))

    def _again(self, some: list[_Open]) -> None:
        for one in some:
            one.lost += 1
            if one.lost < MOST_LOST:
                self._put(one)
            elif not one.answer.done():
                one.answer.set_result(None)

    def _learn(self, some: list[_Open], computed: Computed) -> None:
        # Of longer ones only the longest window is told.
        told = [(one.num_bytes, n) for one, n in zip(some, computed.lengths, strict=True) if n < LONGEST_WINDOW // 2]
        read, tokens = sum(size for size, _ in told), sum(n - 2 for _, n in told)
        if read and tokens > 0:
            # A pass of short texts says little.
            self._per_byte += min(0.1, read / 10_000) * (tokens / read - self._per_byte)

    async def _gather(self) -> None:
        """Others may be about to come: wait for them as long as it may pay."""
        group = self._groups.first(self._former)
        deadline = asyncio.get_running_loop().time() + self._groups.lead(group)
        while not self._former.is_full(group.cost):
            self._changed.clear()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return


def _end_of_queue(some: list[_Open]) -> tuple[str, ...]:
    """Tell the traces of these inputs' requests that they no longer wait; returns those that the pass belongs to."""
    waited: dict[Parent, list[_Open]] = {}
    for one in some:
        if one.parent is not None and one.parent.is_sampled:
            waited.setdefault(one.parent, []).append(one)
    now = time.time_ns()
    for parent, its in waited.items():
        parent.record("queue", min(one.queued for one in its), now, {"motley.rows": len(its)})
    return tuple(parent.traceparent for parent in waited)
