"""Everything that is stored, as JSON: one conversation a line (`jsonl`), or one array (`json`).

Names and values are those of the API. Most conversations are not written here: the database does
it, with the same bytes (`selectors/conversation_lines.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from conversations.formats.chat import RecordedChat
from conversations.formats.message import RECORDED_FIELDS, RecordedMessage
from conversations.formats.writers.json_values import as_array, as_json, as_object

_NOT_WRITTEN = frozenset({"messages", "active_branch", "branch"})
# The fields of a conversation and of a message, in their order in the file.
CHAT_FIELDS = tuple(
    column.name for column in fields(RecordedChat) if column.name not in _NOT_WRITTEN
)
MESSAGE_FIELDS = ("id", "sequence", *RECORDED_FIELDS)


def write_object(chat: RecordedChat) -> Iterator[str]:
    """The conversation as a JSON object on one line; its messages are serialised one at a time."""
    values = {name: getattr(chat, name) for name in CHAT_FIELDS}
    if chat.active_branch is not None:
        values["active_branch"] = chat.active_branch
    yield f'{as_object(values)[:-1]}, "messages": ['
    for number, message in enumerate(chat.messages):
        yield (", " if number else "") + as_object(_values(message))
    yield "]}"


def write_line(chat: RecordedChat) -> Iterator[str]:
    yield from write_object(chat)
    yield "\n"


def _values(message: RecordedMessage) -> dict[str, Any]:
    values = {name: getattr(message, name) for name in MESSAGE_FIELDS}
    if message.branch is not None:
        values |= {"parent_id": message.parent_id, "branch": message.branch}
    reviews = (as_json(asdict(review)) for review in message.reviews)
    return values | {"reviews": as_array(reviews)}
