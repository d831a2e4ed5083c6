"""Parquet; class numbers have their names in what `datasets` writes beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.data.fields import Columns, names_of
from pipelines.data.rows import Record
from pipelines.data.textfile import missing
from pipelines.errors import UserError


def read_parquet(path: Path, columns: Columns) -> Iterator[Record]:
    """Yield every row. Class names come from the features that `datasets` writes into its files.

    Raises:
        UserError: a file that is missing or not Parquet, or a column that is missing.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            chosen = columns.choose(file.schema_arrow.names, place=str(path))
            names = names_of(_features(file.schema_arrow.metadata), chosen)
            for batch in file.iter_batches(batch_size=1000, columns=list(dict.fromkeys(chosen.values()))):
                cells = batch.to_pydict()
                for row in zip(*(cells[name] for name in chosen.values()), strict=True):
                    number += 1
                    yield Record(dict(zip(chosen, row, strict=True)), str(path), number, "row", names)
    except FileNotFoundError:
        raise missing(path) from None
    except (pyarrow.ArrowException, UnicodeDecodeError, OverflowError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read as Parquet (after {number} rows): {reason}. Write the file anew."
        ) from None


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, object]:
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # written by something else: the columns speak for themselves
        return {}
    return features if isinstance(features, dict) else {}
