"""The audit log as CSV, read in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet

from conversations.formats.spreadsheet import csv_line, safe_cell
from conversations.models import AccessRecord

BATCH = 1_000
COLUMNS = (
    "created_at",
    "staff_name",
    "action",
    "owner_name",
    "conversation_id",
    "reason",
    "address",
    "detail",
    "id",
)


def csv_of(records: QuerySet[AccessRecord]) -> Iterator[str]:
    """The lines of the file, newest record first, times in UTC."""
    yield csv_line(COLUMNS)
    rows = records.order_by("-created_at", "-id")
    while batch := list(rows[:BATCH]):
        yield "".join(csv_line([_cell(record, name) for name in COLUMNS]) for record in batch)
        last = batch[-1]
        older = Q(created_at__lt=last.created_at)
        older |= Q(created_at=last.created_at, id__lt=last.id)
        rows = records.order_by("-created_at", "-id").filter(older)


def _cell(record: AccessRecord, name: str) -> str:
    value: Any = getattr(record, name)
    if name == "created_at":
        return str(value.isoformat())
    if name == "detail":
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else safe_cell(str(value))
