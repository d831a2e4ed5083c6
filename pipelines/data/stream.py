"""A split as blocks of checked rows, read as they are asked for: what a stream of data is made of.

A block is an Arrow table, a row of it for every row of the split. Whoever holds rows takes its own out of every block,
so that nobody has to hold them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.config import DataConfig
from pipelines.data.kind import ExampleKind
from pipelines.data.read import find_records, readable
from pipelines.data.row_bytes import to_bytes
from pipelines.errors import UserError

if TYPE_CHECKING:
    import pyarrow

BLOCK = 2**20
"""Bytes of a block; a row that is larger is a block of its own."""
MOST_ROWS = 4096
"""Of a block."""


def blocks(source: str, *, split: str, data: DataConfig, kind: ExampleKind) -> Iterator[pyarrow.Table]:
    """Read one split of a source, as `read_split` does.

    What `read_split` would raise is the last row of the last block, in the column `fault`: who makes the blocks may be
    in another process than who is to be told.

    Yields:
        Tables of `row` (as `to_bytes` makes it), `repaired` (how many tags), and `fault` (null where there is none).
    """
    rows: list[bytes] = []
    repaired: list[int] = []
    size, num_rows, some = 0, 0, False
    try:
        found, named = find_records(source, split=split, data=data, kind=kind)
        for record in readable(found):
            row = kind.row(record, data)
            raw = to_bytes(row)
            if rows and (size + len(raw) > BLOCK or len(rows) == MOST_ROWS):
                yield _block(rows, repaired)
                rows, repaired, size = [], [], 0
            rows.append(raw)
            repaired.append(kind.num_repaired(record, row) if data.iob == "repair" else 0)
            size += len(raw)
            num_rows += 1
            some = some or not kind.says_nothing(row)
        if not some:
            raise kind.empty(named, num_rows)
    except UserError as error:
        yield _block(rows, repaired, str(error))
        return
    if rows:
        yield _block(rows, repaired)


def fault_of(block: pyarrow.Table) -> str | None:
    """Why the stream ends with this block; None where nothing is wrong."""
    fault = block["fault"][-1].as_py() if block.num_rows else None
    return None if fault is None else str(fault, "utf-8", "surrogatepass")


def _block(rows: list[bytes], repaired: list[int], fault: str | None = None) -> pyarrow.Table:
    import pyarrow as pa

    columns: dict[str, list[object]] = {"row": [*rows], "repaired": [*repaired], "fault": [None] * len(rows)}
    if fault is not None:
        # A file may have a name that is no text.
        for name, value in (("row", b""), ("repaired", 0), ("fault", fault.encode(errors="surrogatepass"))):
            columns[name].append(value)
    schema = pa.schema([("row", pa.binary()), ("repaired", pa.int32()), ("fault", pa.binary())])
    return pa.table(columns, schema=schema)
