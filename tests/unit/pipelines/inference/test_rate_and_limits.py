"""Rates, buckets and shares of them, by a clock that the test turns."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.inference.credentials import Unavailable
from pipelines.inference.limits import MOST_CALLERS, Bucket, Buckets, Leases
from pipelines.inference.rate import Rate


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """Shared buckets that write down how often, and for how much, they are asked."""

    def __init__(self, clock: Clock) -> None:
        self.buckets, self.asked = Buckets(clock), list[int]()

    async def ask(self, who: str, rate: Rate, n: int) -> float:
        self.asked.append(n)
        # A remote call lets others run meanwhile.
        await asyncio.sleep(0)
        return self.buckets.take(who, rate, n)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/min", Rate(100, 60)), ("5/s", Rate(5, 1)), ("7/h", Rate(7, 3600)), ("1/day", Rate(1, 86400))],
)
def test_a_rate_is_read_and_written(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert str(rate) == text


@pytest.mark.parametrize(
    "text", ["", "100", "0/s", "-1/s", "1.5/s", "100/minute", "100 / min", "9999999999/s", "\uff11/s"]
)
def test_what_is_no_rate_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="such as 100/min"):
        Rate.parse(text)


def test_a_bucket_gives_what_it_holds_and_then_what_comes_in() -> None:
    bucket = Bucket(Rate(6, 60), now=0)
    assert [bucket.take(1, 0) for _ in range(8)] == [0, 0, 0, 0, 0, 0, 10, 10]
    assert bucket.take(1, 4) == 6
    assert bucket.take(1, 10) == 0
    assert bucket.take(3, 10) == 30
    # It never holds more than its amount, however long nobody came.
    assert [bucket.take(6, 9999), bucket.take(1, 9999)] == [0, 10]


def test_a_wait_that_was_told_is_enough() -> None:
    for amount in (1, 3, 7, 997):
        bucket = Bucket(Rate(amount, 60), now=0)
        assert bucket.take(amount, 0) == 0
        assert bucket.take(1, bucket.take(1, 1e-4) + 1e-4) == 0


def test_each_caller_has_a_bucket_and_full_ones_are_forgotten() -> None:
    clock = Clock()
    buckets = Buckets(clock)
    assert [buckets.take(who, Rate(1, 60), 1) for who in ("a", "b", "a")] == [0, 0, 60]
    assert buckets.take("a", Rate(2, 60), 1) == 0
    for number in range(MOST_CALLERS):
        buckets.take(f"caller {number}", Rate(1, 60), 1)
    clock.now += 60
    buckets.take("one more", Rate(1, 60), 1)
    assert len(buckets) == 1


def test_a_slow_caller_is_counted_exactly_and_a_fast_one_by_shares() -> None:
    async def asked(seconds_between: float, requests: int) -> list[int]:
        clock = Clock()
        shared = Counted(clock)
        leases = Leases(shared.ask, clock)
        for _ in range(requests):
            assert await leases.take("a", Rate(200, 60)) == 0
            clock.now += seconds_between
        return shared.asked

    assert asyncio.run(asked(4, 5)) == [1, 1, 1, 1, 1]
    assert asyncio.run(asked(0, 100)) == [1, 2, 4, 8, *[10] * 9]


def test_replicas_together_answer_no_more_than_there_is_and_refuse_without_asking() -> None:
    async def answered() -> tuple[int, int, int]:
        clock = Clock()
        shared = Counted(clock)
        replicas = [Leases(shared.ask, clock) for _ in range(3)]
        waits = [await replicas[i % 3].take("a", Rate(100, 60)) for i in range(150)]
        before = len(shared.asked)
        assert [await replica.take("a", Rate(100, 60)) for replica in replicas] == pytest.approx([0.6] * 3)
        return waits.count(0), before, len(shared.asked)

    total, before, after = asyncio.run(answered())
    assert (total, after) == (100, before)


@pytest.mark.parametrize("rate", [Rate(100, 60), Rate(39, 1), Rate(1000, 3600)])
def test_the_bound_holds_in_every_window_and_is_exact_for_small_amounts(rate: Rate) -> None:
    """Three replicas; every one hoards a share, and all is spent at the worst moment."""

    async def times() -> list[float]:
        clock = Clock()
        shared = Counted(clock)
        replicas = [Leases(shared.ask, clock) for _ in range(3)]
        passed = []
        for tick in range(3000):
            for replica in replicas if tick % 50 < 5 or tick > 2000 else replicas[:1]:
                if await replica.take("a", rate) == 0:
                    passed.append(clock.now)
            clock.now += rate.seconds / 1000
        return passed

    passed = asyncio.run(times())
    extra = 3 * (max(1, rate.amount // 20) - 1)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed), 37):
            most = rate.amount + (passed[last] - begin) * rate.amount / rate.seconds + extra
            assert last - first + 1 <= most + 1e-6


def test_requests_that_come_together_take_one_share() -> None:
    async def asked() -> list[int]:
        shared = Counted(Clock())
        leases = Leases(shared.ask, shared.buckets._clock)
        await asyncio.gather(*(leases.take("a", Rate(200, 60)) for _ in range(15)))
        return shared.asked

    assert asyncio.run(asked()) == [1, 2, 4, 8]


def test_what_was_not_spent_lapses() -> None:
    async def asked() -> list[int]:
        clock = Clock()
        shared = Counted(clock)
        leases = Leases(shared.ask, clock)
        for _ in range(2):
            await leases.take("a", Rate(200, 60))
        clock.now += 60
        await leases.take("a", Rate(200, 60))
        return shared.asked

    assert asyncio.run(asked()) == [1, 2, 1]


def test_shared_buckets_that_do_not_answer_are_unavailable_soon() -> None:
    async def never(who: str, rate: Rate, n: int) -> float:  # noqa: ARG001
        await asyncio.Event().wait()
        return 0.0

    with pytest.raises(Unavailable, match="did not answer in"):
        asyncio.run(Leases(never, patience=0.01).take("a", Rate(1, 1)))
