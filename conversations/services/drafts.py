"""A message before it has its place: what a client, a script or a file gives of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import CharField

from conversations.db.bulk_rows import Row
from conversations.models import Message, Role, Status
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.validators import (
    as_stored,
    check_json,
    check_metadata,
    check_rating,
    check_text,
)

EMPTY_CONTENT = "The content may not be empty."
UNKNOWN_ROLE = "Not a role; roles are {roles} (in lower case)."
UNKNOWN_STATUS = "Not a status; statuses are {statuses}."
TOO_LONG = "Longer than {limit:,} characters."
NOT_AN_OBJECT = "Not an object."
NOT_NEGATIVE = "May not be negative or above 2,147,483,647."

# Django builds `.values` anew each time it is asked.
_ROLES, _STATUSES = tuple(Role.values), tuple(Status.values)
_JSON_LISTS = ("parts", "tool_calls", "sources")
_COUNTS = ("prompt_tokens", "completion_tokens", "latency_ms", "first_token_ms")
# Column widths, asked of the model once.
_WIDTHS = {
    column.name: column.max_length
    for column in Message._meta.concrete_fields
    if isinstance(column, CharField) and column.name not in {"role", "status"}
}
_LARGEST_COUNT = 2**31 - 1


@dataclass(slots=True, kw_only=True)
class MessageDraft:
    """One message to be appended. `id` and `created_at` are given only to keep an identity or
    a history that exists elsewhere. Whole numbers are tokens and milliseconds."""

    role: str
    content: str = ""
    parts: list[Any] | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    provider: str = "ollama"
    model: str = ""
    sources: list[Any] | None = None
    detected_mode: str | None = None
    status: str = Status.COMPLETE
    finish_reason: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    rating: int | None = None
    rating_comment: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    runner: str | None = None  # set by a turn, while it runs
    id: uuid.UUID | None = None
    created_at: datetime | None = None

    def check(self) -> None:
        """Raise InvalidValue, naming the field, unless the row can be stored as it is."""
        _check_choice("role", self.role, _ROLES, UNKNOWN_ROLE)
        _check_choice("status", self.status, _STATUSES, UNKNOWN_STATUS)
        for column in ("content", "error", "rating_comment", *_WIDTHS):
            _check_column(column, getattr(self, column))
        for column in _JSON_LISTS:
            _check_list(column, getattr(self, column))
        _check_tool_calls(self.tool_calls or ())
        for column in _COUNTS:
            _check_count(column, getattr(self, column))
        check_metadata(self.metadata)
        check_rating(self.rating)
        if self._is_empty():
            raise InvalidValue(EMPTY_CONTENT, field="content", code="blank")

    def check_as_sent_by_client(self) -> None:
        """`check`, after the rule for what people type: trimmed and of bounded length."""
        if self.role == Role.USER:
            self.content = self.content.strip()
            limit = settings.CHAT_MAX_MESSAGE_CHARS
            if len(self.content) > limit:
                raise InvalidValue(TOO_LONG.format(limit=limit), field="content", code="max_length")
        if self.status == Status.STREAMING:
            raise InvalidValue(
                "Only a running turn is `streaming`; record a finished answer.", field="status"
            )
        self.check()

    def _is_empty(self) -> bool:
        """The rule of the constraint `message_content_not_empty`, in Python."""
        return (
            self.content == ""
            and not self.tool_calls
            and not self.parts
            and self.role != Role.TOOL
            and self.status == Status.COMPLETE
        )


DRAFT_FIELDS = tuple(draft.name for draft in fields(MessageDraft))


def first_difference(row: Row, draft: MessageDraft, names: Iterable[str]) -> str | None:
    """The first of the columns `names` of which a stored row says something else than the draft.

    Metadata is compared too while nothing of the row has been changed since it was stored.
    """
    untouched = row["updated_at"] == row["created_at"]
    compared = (*names, "metadata") if untouched else names
    return next(
        (name for name in compared if as_stored(row[name]) != as_stored(getattr(draft, name))), None
    )


def check_drafts(drafts: list[MessageDraft], *, from_client: bool) -> None:
    """Check each; an error names the failing index ("messages.3.content")."""
    for index, draft in enumerate(drafts):
        try:
            draft.check_as_sent_by_client() if from_client else draft.check()
        except ServiceError as error:
            raise error.under(f"messages.{index}") from None


def _check_choice(field: str, value: object, choices: tuple[str, ...], text: str) -> None:
    if value not in choices:
        names = ", ".join(choices)
        raise InvalidValue(
            text.format(roles=names, statuses=names), field=field, code="invalid_choice"
        )


def _check_column(column: str, value: str | None) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidValue("Not a string.", field=column)
    check_text(column, value)
    limit = _WIDTHS.get(column)
    if limit and len(value) > limit:
        raise InvalidValue(TOO_LONG.format(limit=limit), field=column, code="max_length")


def _check_list(column: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise InvalidValue("Not a list.", field=column, code="not_a_list")
    check_json(column, value)


def _check_tool_calls(calls: Iterable[Any]) -> None:
    """Readers look for `id` and `function` in each; OpenAI's shape of a call has both."""
    for index, call in enumerate(calls):
        if not isinstance(call, dict):
            raise InvalidValue(NOT_AN_OBJECT, field=f"tool_calls.{index}", code="not_an_object")
        if not isinstance(call.get("function", {}), dict):
            raise InvalidValue(
                NOT_AN_OBJECT, field=f"tool_calls.{index}.function", code="not_an_object"
            )


def _check_count(column: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue("Not a whole number.", field=column)
    if not 0 <= value <= _LARGEST_COUNT:
        raise InvalidValue(NOT_NEGATIVE, field=column)
