"""Files in Apache Parquet, a few rows at a time. Needs pyarrow, an optional dependency."""

from __future__ import annotations

import importlib
from base64 import b64encode
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from conversations.formats.unpacking import Unreadable

PARQUET_BEGINS = b"PAR1"
ROWS_AT_ONCE = 16
_BUFFER_BYTES = 1024 * 1024  # without it, a column of a group of rows is read as a whole

NOT_INSTALLED = (
    "A file in parquet needs pyarrow: pip install -r requirements-extras.txt, "
    "or use the same data as JSON Lines."
)
NOT_PARQUET = "Not a parquet file that can be read: {reason}."


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with its place, from 1. Raises Unreadable."""
    place = 0
    file = _opened(path)
    try:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                place += 1
                yield place, {name: _as_json(value) for name, value in row.items()}
    except (OSError, ValueError) as error:  # what pyarrow raises for a damaged file
        raise Unreadable(NOT_PARQUET.format(reason=error)) from None


def _as_json(value: Any) -> Any:
    """A value as JSON Lines have it: times as text, and so bytes, in base64."""
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _opened(path: Path) -> Any:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise Unreadable(NOT_INSTALLED) from None
    try:
        return parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES)
    except (OSError, ValueError) as error:
        raise Unreadable(NOT_PARQUET.format(reason=error)) from None
