"""How often a caller may ask: token buckets, and shares of them that replicas take ahead.

    replica 1 --a share of 5--.
                               >--- one bucket for each caller
    replica 2 --a share of 1--'

A bucket is full with `amount` tokens and gets `amount` new ones, evenly, in `seconds`; a request takes one. So in any
time T at most amount + T * amount / seconds requests of a caller are answered, by however many replicas.

A replica that asked the shared bucket for every request would pay a remote call for each. It takes a share instead: one
token from who asks rarely, and up to a twentieth of the amount from who asks fast. Tokens that were taken and not yet
spent may be spent later, so that with R replicas the bound above is exceeded by at most R * (share - 1), and by
nothing where the amount is below 40. What a replica has not spent in `seconds` lapses: by as many a caller may be
refused too early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipelines.inference.credentials import Unavailable
from pipelines.inference.rate import Rate

SHARES = 20
"""In how many shares a bucket is dealt out at the fastest."""
MOST_CALLERS = 10_000
"""How many are remembered before those go that have nothing to remember."""
PATIENCE = 2.0
"""Seconds to wait for the shared buckets."""


Ask = Callable[[str, Rate, int], Awaitable[float]]
"""Takes so many tokens (at most `rate.amount`) from a caller's bucket: 0, or the seconds until there are as many.

The one way from a replica to the buckets that all of them share; what is behind it keeps a `Buckets`. Raises
Unavailable when they cannot be reached.
"""


class Bucket:
    """The tokens of one caller. Times are seconds of any clock that does not go back."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = float(rate.amount)
        self._then = now

    def take(self, n: int, now: float) -> float:
        """Take `n` tokens, at most `rate.amount`, or none: 0, or the seconds until there will be as many."""
        assert n <= self.rate.amount
        self._fill(now)
        # A wait that was told must be enough when it is over, whatever rounding did.
        if self._tokens + 1e-6 >= n:
            self._tokens -= n
            return 0.0
        return (n - self._tokens) * self.rate.seconds / self.rate.amount

    def is_full(self, now: float) -> bool:
        self._fill(now)
        return self._tokens >= self.rate.amount

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._then)
        self._tokens = min(float(self.rate.amount), self._tokens + passed * self.rate.amount / self.rate.seconds)
        self._then += passed


class Buckets:
    """One for each caller. Who gets another rate gets a new bucket."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, who: str, rate: Rate, n: int) -> float:
        """As `Ask`, at once."""
        now = self._clock()
        bucket = self._buckets.get(who)
        if bucket is None or bucket.rate != rate:
            if len(self._buckets) >= MOST_CALLERS:
                self._buckets = {name: kept for name, kept in self._buckets.items() if not kept.is_full(now)}
            bucket = self._buckets[who] = Bucket(rate, now)
        return bucket.take(n, now)

    async def ask(self, who: str, rate: Rate, n: int) -> float:
        """An `Ask` for a process that shares with no other."""
        return self.take(who, rate, n)

    def __len__(self) -> int:
        return len(self._buckets)


@dataclass(slots=True)
class _Lease:
    """What a replica holds of one caller's bucket."""

    rate: Rate
    left: int = 0
    share: int = 1
    taken: float = -float("inf")
    closed_until: float = -float("inf")
    # Requests of one caller that come together must not each take a share.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_idle(self, now: float) -> bool:
        return now >= self.closed_until and now - self.taken >= self.rate.seconds and not self.turn.locked()


class Leases:
    """A replica's side: spends shares of the callers' buckets, and takes new ones by `ask`."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic, *, patience: float = PATIENCE) -> None:
        self._ask, self._clock, self._patience = ask, clock, patience
        self._leases: dict[str, _Lease] = {}

    async def take(self, who: str, rate: Rate) -> float:
        """Spend one token: 0, or the seconds until it is worth asking again.

        Raises:
            Unavailable: the shared buckets could not be asked.
        """
        lease = self._leases.get(who)
        if lease is None or lease.rate != rate:
            self._sweep()
            lease = self._leases[who] = _Lease(rate)
        async with lease.turn:
            now = self._clock()
            if now - lease.taken >= rate.seconds:
                lease.left = 0
            if lease.left == 0:
                if now < lease.closed_until:
                    return lease.closed_until - now
                if (wait := await self._renew(who, lease, now)) > 0:
                    lease.closed_until = now + wait
                    return wait
            lease.left -= 1
            return 0.0

    async def _renew(self, who: str, lease: _Lease, now: float) -> float:
        """Twice the last share if that was soon spent; one token at a time from who asks rarely."""
        most = max(1, lease.rate.amount // SHARES)
        soon = now - lease.taken < lease.rate.seconds / SHARES
        share = min(most, 2 * lease.share) if soon else 1
        wait = await self._asked(who, lease.rate, share)
        if wait > 0 and share > 1:
            share = 1
            wait = await self._asked(who, lease.rate, share)
        if wait == 0:
            lease.left, lease.share, lease.taken = share, share, now
        return wait

    async def _asked(self, who: str, rate: Rate, n: int) -> float:
        try:
            async with asyncio.timeout(self._patience):
                return await self._ask(who, rate, n)
        except TimeoutError:
            raise Unavailable(f"its count of requests did not answer in {self._patience:g} s") from None

    def _sweep(self) -> None:
        if len(self._leases) >= MOST_CALLERS:
            now = self._clock()
            self._leases = {who: lease for who, lease in self._leases.items() if not lease.is_idle(now)}
