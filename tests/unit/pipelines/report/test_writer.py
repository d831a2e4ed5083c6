import threading

import pytest

from pipelines.report.writer import Writer

NEVER = 3600.0  # Seconds between writes, so that only flush and close write.


def test_what_gathers_is_written_at_once_and_in_order() -> None:
    written: list[list[int]] = []
    writer = Writer(written.append, "numbers", every=NEVER)
    writer.put([1, 2])
    writer.put([3])
    writer.flush(10)
    writer.put([4])
    writer.close(10)
    assert written == [[1, 2, 3], [4]]


def test_it_writes_without_being_asked() -> None:
    written = threading.Event()
    writer = Writer(lambda _: written.set(), "numbers", every=0.01)
    writer.put([1])
    assert written.wait(10)
    writer.close(10)


def test_an_error_is_raised_by_flush_by_every_later_put_and_by_close() -> None:
    def fail(_: list[int]) -> None:
        raise OSError("disk full")

    writer = Writer(fail, "numbers", every=NEVER)
    writer.put([1])
    with pytest.raises(OSError, match="disk full"):
        writer.flush(10)
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            writer.put([2])
    with pytest.raises(OSError, match="disk full"):
        writer.close(10)


def test_a_write_that_takes_too_long_is_named() -> None:
    go_on = threading.Event()

    def wait(_: list[int]) -> None:
        go_on.wait(30)

    writer = Writer(wait, "numbers for the store", every=NEVER)
    writer.put([1])
    with pytest.raises(TimeoutError, match=r"numbers for the store: .* not written after 0\.05 s"):
        writer.flush(0.05)
    go_on.set()
    writer.close(10)
