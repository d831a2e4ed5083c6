"""Parquet: a column of lists of words, and one of lists of tags or of class numbers with their names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.columns import choose_columns, class_names, column_row
from pipelines.data.rows import Row
from pipelines.data.textfile import missing
from pipelines.errors import UserError


def read_parquet(path: Path, data: DataConfig) -> Iterator[Row]:
    """Yield every row. Class names come from the features that `datasets` writes into its files.

    Raises:
        UserError: a file that is missing or not Parquet, or a column that is missing or holds no lists.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            words, tags = choose_columns(file.schema_arrow.names, data, place=str(path))
            names = class_names(_features(file.schema_arrow.metadata), tags)
            for batch in file.iter_batches(batch_size=1000, columns=[words, tags]):
                columns = batch.to_pydict()
                for row_words, row_tags in zip(columns[words], columns[tags], strict=True):
                    number += 1
                    yield column_row(row_words, row_tags, names, file=str(path), number=number, counted="row")
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
