"""CSV: one row a message, for spreadsheets and data frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.message import RECORDED_FIELDS, RecordedMessage, cost_as_text
from conversations.formats.spreadsheet import csv_line, safe_cell
from conversations.formats.writers.json_values import as_json

_OF_CHAT = ("owner", "title", "external_id", "tags")
_OF_MESSAGE = ("sequence", "branch", "parent_id", *RECORDED_FIELDS, "reviews")
HEADER = csv_line(["conversation_id", *_OF_CHAT, "message_id", *_OF_MESSAGE])


def write_rows(chat: RecordedChat) -> Iterator[str]:
    """The rows of a conversation; `branch` and `parent_id` are empty where it has one branch.

    Lists and objects are JSON, times ISO 8601, what is not known an empty cell.
    """
    of_chat = [chat.id, *(_cell(getattr(chat, name)) for name in _OF_CHAT)]
    for message in chat.messages:
        cells = (_cell(_value(message, name)) for name in _OF_MESSAGE)
        yield csv_line([*of_chat, message.id, *cells])


def _value(message: RecordedMessage, name: str) -> Any:
    if name != "reviews":
        return getattr(message, name)
    return [asdict(review) for review in message.reviews] or None


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        return cost_as_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return safe_cell(str(value) if isinstance(value, str) else as_json(value))
