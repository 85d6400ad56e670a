"""Files in Apache Parquet, a few rows at a time. Needs pyarrow, an optional dependency."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conversations.formats.unpacking import Unreadable

PARQUET_BEGINS = b"PAR1"
ROWS_AT_ONCE = 64

NOT_INSTALLED = (
    "A file in parquet needs pyarrow: pip install -r requirements-extras.txt, "
    "or use the same data as JSON Lines."
)
NOT_PARQUET = "Not a parquet file that can be read: {reason}."


def column_names(path: Path) -> list[str]:
    """Raises Unreadable."""
    return list(_opened(path).schema_arrow.names)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with its place, from 1. Raises Unreadable."""
    place = 0
    file = _opened(path)
    try:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                place += 1
                yield place, row
    except (OSError, ValueError) as error:  # what pyarrow raises for a damaged file
        raise Unreadable(NOT_PARQUET.format(reason=error)) from None


def _opened(path: Path) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Unreadable(NOT_INSTALLED) from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise Unreadable(NOT_PARQUET.format(reason=error)) from None
