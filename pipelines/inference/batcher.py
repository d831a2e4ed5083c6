"""Requests share passes through the model: sorted by length here, computed by workers in processes of their own.

request --.                                  .--> worker --.
request ---+--> waiting, by length (Former) -+              >--> answers
request --'                                  '--> worker --'
"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_right, insort
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.inference.deadlines import REQUEST_TIMEOUT, deadline
from pipelines.inference.former import Former, Waiting
from pipelines.inference.pass_cost import PassCost
from pipelines.inference.predictor import LONGEST_WINDOW, texts_in
from pipelines.traces.spans import Parent, here

MOST_LOST = 3
"""Workers that an input may take with it before it is taken for the cause."""


ENOUGH = 2.0
"""Full passes for each worker that wait before it is sent one beside the one that it has."""


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


class WorkerLost(Exception):
    """A worker ended in the middle of a pass; another may compute it."""


@dataclass(frozen=True, slots=True)
class Computed:
    """What a worker found."""

    outputs: Sequence[Any | None]
    """One for each input; None for one that the model failed on."""
    lengths: Sequence[int]
    """Sub-words of each input."""
    seconds: float
    """That the worker took."""
    worker: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass through the model."""

    computed: Computed
    waited: float
    """Seconds from when the oldest of its inputs came until the pass was sent."""


Run = Callable[[list[Any], tuple[str, ...]], Awaitable[Computed]]
"""Has a worker compute a pass, which belongs to these traces (`Parent.traceparent`). Raises WorkerLost."""


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
        run: Run,
        cost: PassCost,
        *,
        most: int,
        wait: float,
        patience: float,
        ahead: float | None = None,
        workers: Callable[[], int] = lambda: 1,
        told: Callable[[Pass], None] = lambda _: None,
        lost: Callable[[int], None] = lambda _: None,
    ) -> None:
        """
        Args:
            most: inputs in one pass.
            wait: seconds that a request waits at most for others when a worker is free. Never longer than starting a
                pass takes: more is not to be saved.
            patience: seconds of work that may wait; what comes then is refused.
            ahead: seconds of work for each worker that wait before one is sent a pass beside the one that it has, for
                whoever counts passes to see how much there is to do. When left out, it is sent one when it ought to be
                done with that, or passes would stay full.
            workers: how many there are now.
            told: of every pass that was computed.
            lost: of every worker that ended in a pass, with the number of its inputs.
        """
        self._run, self._cost, self._patience, self._ahead = run, cost, patience, ahead
        self._workers, self._told, self._lost = workers, told, lost
        self._wait = min(wait, cost.fixed)
        self._former = Former(cost, most=most)
        self._open: dict[int, _Open] = {}
        self._number = 0
        self._alone = True
        """Whether the last pass had one input only and none waited behind it: then others are not waited for."""
        self._per_byte = 0.25
        """Sub-words that a byte of text makes, as passes have shown: English and Chinese texts are alike in it."""
        self._changed = asyncio.Event()
        """Something came, or a worker is free."""
        self._out = 0
        """Passes that are being computed."""
        self._due: list[float] = []
        """When each of them ought to be done, by what passes were measured to take; the next one first."""
        self._sending: asyncio.Task[None] | None = None
        self._passes: set[asyncio.Task[None]] = set()

    @property
    def num_waiting(self) -> int:
        """Inputs that are in no pass yet."""
        return len(self._former)

    @property
    def seconds_waiting(self) -> float:
        """What all workers together need for them."""
        return self._former.seconds / max(1, self._workers())

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
            while self._may_send():
                self._send_one()

    def _may_send(self) -> bool:
        workers = max(1, self._workers())
        if not len(self._former):
            return False
        if self._out < workers:
            return True
        if self._out >= 2 * workers:
            return False
        if self._ahead is not None:
            return self.seconds_waiting >= self._ahead
        # What is to be done when a worker has done what it has can be on its way by then.
        done = bisect_right(self._due, asyncio.get_running_loop().time() + self._wait)
        # A worker that begins its next pass at once loses nothing, where so much waits that passes stay well filled.
        return done > self._out - workers or self._former.num_passes >= ENOUGH * workers

    def _send_one(self) -> None:
        taken = [self._open.pop(number) for number in self._former.take()]
        # Who has gone away needs no answer.
        wanted = [one for one in taken if not one.answer.done()]
        if not wanted:
            return
        self._alone = len(taken) == 1 and not len(self._former)
        # Those that were there when a worker ended are asked one by one, so that only the cause of it fails.
        apart = [[one] for one in wanted if one.lost > 1]
        together = [one for one in wanted if one.lost <= 1]
        for some in [*([together] if together else []), *apart]:
            task = asyncio.get_running_loop().create_task(self._pass(some, self._begin(some)))
            self._passes.add(task)
            task.add_done_callback(self._passes.discard)

    def _begin(self, some: list[_Open]) -> float:
        """Count a pass that is sent; returns when its worker ought to be done with it."""
        loop, behind = asyncio.get_running_loop(), self._out - max(1, self._workers())
        begin = loop.time() if behind < 0 else max(loop.time(), self._due[behind])
        pieces = [one.waiting for one in some if one.waiting is not None]
        longest = max(self._cost.row(one.length) for one in pieces)
        due = begin + self._cost.fixed + longest * sum(one.pieces for one in pieces)
        self._out += 1
        insort(self._due, due)
        loop.call_at(due - self._wait, self._changed.set)
        return due

    async def _pass(self, some: list[_Open], due: float) -> None:
        now = asyncio.get_running_loop().time
        waited = now() - min(one.came for one in some)
        try:
            computed = await self._run([one.given for one in some], _end_of_queue(some))
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
            self._out -= 1
            self._due.remove(due)
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
        deadline = asyncio.get_running_loop().time() + self._wait
        while not self._former.is_full:
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
