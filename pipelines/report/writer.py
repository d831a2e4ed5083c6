"""Hand things over in no time; a thread writes them, many at once.

    caller:  put() ... put() ........ flush() or close() wait for the thread, and raise what it met
                \\       \\
    thread:      `-------`--> write([...])    about once a second
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_WRITES = 1.0


class Writer(Generic[Item]):
    """Calls `write` in a thread of its own with what has gathered, in order, until `close` or its first error."""

    def __init__(
        self, write: Callable[[list[Item]], None], name: str, *, every: float = SECONDS_BETWEEN_WRITES
    ) -> None:
        """`name` says in errors what is written, and where; `every` is in seconds."""
        self._write = write
        self._name = name
        self._every = every
        self._changed = threading.Condition()
        # All guarded by _changed.
        self._pending: list[Item] = []
        self._writing = False
        self._hurry = False
        self._closing = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def error(self) -> Exception | None:
        """What ended the writing early."""
        return self._error

    def put(self, items: Iterable[Item]) -> None:
        """Take `items` over, to be written soon.

        Raises:
            Exception: what `write` raised for items taken earlier; `items` are not taken then.
        """
        with self._changed:
            assert not self._closing, f"{self._name}: put after close"
            self._check()
            self._pending.extend(items)

    def flush(self, timeout: float) -> None:
        """Wait until everything taken is written.

        Raises:
            TimeoutError: it is not, after `timeout` seconds.
            Exception: what `write` raised.
        """
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            if not self._changed.wait_for(self._settled, timeout):
                raise TimeoutError(f"{self._name}: {len(self._pending)} or more not written after {timeout:g} s.")
            self._check()

    def close(self, timeout: float) -> None:
        """Write what is left and end the thread. Raises as `flush` does."""
        with self._changed:
            self._closing = True
        self.flush(timeout)

    def _settled(self) -> bool:
        return self._error is not None or not (self._pending or self._writing)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._hurry, self._every)
                batch, self._pending = self._pending, []
                self._hurry, self._writing, closing = False, True, self._closing
            error: Exception | None = None
            try:
                if batch:
                    self._write(batch)
            except Exception as failure:  # Whatever it is, the caller's thread must meet it.
                error = failure
            with self._changed:
                self._writing, self._error = False, error
                self._changed.notify_all()
            if closing or error is not None:
                return
