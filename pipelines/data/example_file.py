"""Encoded examples on disk: what a data shard reads of them is what it wrote, value by value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from pipelines.data.examples import Array, Encoded
from pipelines.data.spool import Spool
from pipelines.errors import UserError

FACTS = 5
"""Numbers of an example that are no part of its columns."""

Form = tuple[str, str, tuple[int, ...]]
"""Of a column: its name, the type of its values, and its shape without the example's own length."""


class ExampleFile(Sequence[Encoded]):
    """All examples of a split, in their order.

    A record is whole numbers of 32 bits (facts, how many words and places there are, how long each column is), and
    then the values: words, places, and one column behind the other.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: see `Spool`.
        """
        self._spool = Spool(folder)
        self._forms: tuple[Form, ...] | None = None

    @property
    def num_bytes(self) -> int:
        return self._spool.num_bytes

    def extend(self, examples: Iterable[Encoded]) -> None:
        """Write more of them.

        Raises:
            UserError: one has other columns than the first, so that they could not be in one micro-batch; or the disk
                is full.
        """
        for example in examples:
            forms = tuple((name, column.dtype.str, column.shape[1:]) for name, column in example.columns.items())
            self._forms = self._forms or forms
            if forms != self._forms:
                raise UserError(
                    f"Example {len(self) + 1} of this data shard has the columns {_shown(forms)}, and those before it "
                    f"{_shown(self._forms)}, which cannot be in one micro-batch. Bring all rows to one form."
                )
            words = np.asarray(example.words, np.int32)
            places = np.zeros((0, 2), np.int32) if example.places is None else example.places.astype(np.int32)
            numbers = [
                example.length, example.num_targets, example.num_cut, example.num_unseen, int(example.continues),
                len(words), -1 if example.places is None else len(places), *map(len, example.columns.values()),
            ]  # fmt: skip
            parts = [np.asarray(numbers, np.int32), words, places, *example.columns.values()]
            self._spool.append([part.tobytes() for part in parts])

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, at: int) -> Encoded: ...

    @overload
    def __getitem__(self, at: slice) -> list[Encoded]: ...

    def __getitem__(self, at: int | slice) -> Encoded | list[Encoded]:
        if isinstance(at, slice):
            first, end, step = at.indices(len(self))
            assert step == 1, "examples are read in their order"
            return list(self._between(first, end))
        return self._example(self._spool.read(at))

    def __iter__(self) -> Iterator[Encoded]:
        return self._between(0, len(self))

    def _between(self, first: int, end: int) -> Iterator[Encoded]:
        return map(self._example, self._spool.pieces(first, end))

    def _example(self, raw: bytes) -> Encoded:
        assert self._forms is not None
        head = FACTS + 2 + len(self._forms)
        numbers = np.frombuffer(raw, np.int32, head).tolist()
        length, num_targets, num_cut, num_unseen, continues, num_words, num_places, *own = numbers
        at = 4 * head

        def taken(count: int, dtype: Any, shape: tuple[int, ...]) -> Array:
            nonlocal at
            values = np.frombuffer(raw, dtype, count * int(np.prod(shape, dtype=np.int64)), at)
            at += values.nbytes
            return values.reshape(count, *shape)

        words = taken(num_words, np.int32, ()).tolist()
        places = taken(max(0, num_places), np.int32, (2,)).astype(np.int64)
        columns = {name: taken(n, dtype, shape) for n, (name, dtype, shape) in zip(own, self._forms, strict=True)}
        return Encoded(
            columns,
            length,
            num_targets,
            words,
            num_cut,
            num_unseen,
            None if num_places < 0 else places,
            bool(continues),
        )


def _shown(forms: Iterable[Form]) -> str:
    return ", ".join(f"{name} {list(shape)} of {np.dtype(dtype).name}" for name, dtype, shape in forms)
