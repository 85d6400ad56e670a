"""The JSON Lines format of this project, written by `write_json`: one conversation per line.

    {"id": …, "title": …, "metadata": {…}, "pinned": …, "created_at": …,
     "messages": [{"role", "content", "sources", "status", "rating", "created_at", …}, …]}

Fields are those of the API. All fields except `role` of a message are optional, with the defaults
of the model. Unknown fields are rejected, so that no data is silently lost.

A conversation with branches has `active_branch`, and its messages have `parent_id` and `branch`
(`tree.py`); they are in order of arrival.

Ignored are `source` (set by the import), `id` of a message (but as a `parent_id`) and `sequence`
(the order of the list counts), and `reviews` of staff, whose accounts belong to the exporting
installation. `as_exported.py` reads these too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, BinaryIO

from conversations.formats.chat import Chat, Malformed, Rejected
from conversations.formats.checks import (
    Check,
    as_boolean,
    as_decimal_or_none,
    as_id,
    as_list,
    as_list_or_none,
    as_number_or_none,
    as_object,
    as_object_or_none,
    as_text,
    as_text_or_none,
    as_texts,
    as_time_or_none,
    required,
)
from conversations.formats.message import DRAFT_FIELDS, RECORDED_FIELDS, MessageDraft
from conversations.formats.tree import read_active, read_tree
from conversations.formats.values import read_chats

UNKNOWN_FIELD = "Unknown field."

# By the annotation of a dataclass field.
_CHECKS: dict[str, Check] = {
    "str": as_text,
    "str | None": as_text_or_none,
    "list[Any] | None": as_list_or_none,
    "list[str]": as_texts,
    "dict[str, Any]": as_object,
    "dict[str, Any] | None": as_object_or_none,
    "Decimal | None": as_decimal_or_none,
    "int | None": as_number_or_none,
    "bool": as_boolean,
    "datetime | None": as_time_or_none,
}


def _checks(record: type, ignored: frozenset[str]) -> dict[str, Check]:
    return {
        column.name: _CHECKS[str(column.type)]
        for column in fields(record)
        if column.name not in ignored
    }


_OF_TREES = frozenset({"parents", "branches", "active"})
_OF_READING = frozenset({"line", "file", "format", "file_id", "messages", "earlier", "exported"})
CHAT_FIELDS = _checks(Chat, _OF_TREES | _OF_READING)
CHAT_FIELDS_IGNORED = frozenset({"source"})
_OF_OURS = frozenset(
    {"owner", "model_used", "source", "external_id", "tags", "pinned", "archived_at"}
)
MESSAGE_FIELDS = _checks(MessageDraft, frozenset(DRAFT_FIELDS) - set(RECORDED_FIELDS))
# `tree.py` reads the last two.
MESSAGE_FIELDS_IGNORED = frozenset({"id", "sequence", "reviews", "parent_id", "branch"})


def looks_like_json(value: dict[str, Any]) -> bool:
    """Whether it has fields of ours that no other format has, and only fields of ours."""
    known = {*CHAT_FIELDS, *CHAT_FIELDS_IGNORED, "id", "messages", "active_branch"}
    return known.issuperset(value) and len(value.keys() & _OF_OURS) > 1


def has_messages(value: dict[str, Any]) -> bool:
    """It may be one that was not written by an export."""
    return isinstance(value.get("messages"), list)


def read_json(file: BinaryIO) -> Iterator[Chat | Rejected]:
    """Parse a file opened in binary mode, one conversation at a time."""
    return read_chats(file, chat_of)


def chat_of(number: int, data: dict[str, Any]) -> Chat:
    """The conversation of a line. Raises Malformed."""
    rest = dict(data)
    file_id = as_id("id", rest.pop("id", None))
    messages = as_list("messages", required("messages", rest.pop("messages", None)))
    drafts = tuple(_message(f"messages.{at}", item) for at, item in enumerate(messages))
    parents, branches = read_tree(messages)
    return Chat(
        line=number,
        file_id=file_id,
        messages=drafts,
        parents=parents,
        branches=branches,
        active=read_active(rest.pop("active_branch", None), messages),
        **fields_of("", rest, CHAT_FIELDS, CHAT_FIELDS_IGNORED),
    )


def _message(at: str, item: object) -> MessageDraft:
    data = as_object(at, item)
    required(f"{at}.role", data.get("role"))
    return MessageDraft(**fields_of(f"{at}.", data, MESSAGE_FIELDS, MESSAGE_FIELDS_IGNORED))


def fields_of(
    prefix: str, data: dict[str, Any], checks: Mapping[str, Check], ignored: frozenset[str]
) -> dict[str, Any]:
    """The checked values of the known fields; `prefix` is their path. Raises Malformed."""
    if unknown := data.keys() - checks.keys() - ignored:
        raise Malformed(f"{prefix}{min(unknown)}", UNKNOWN_FIELD)
    return {
        name: checks[name](f"{prefix}{name}", value)
        for name, value in data.items()
        if name in checks
    }
