"""Validate messages of clients, scripts and import files before they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import CharField, DecimalField, JSONField, PositiveIntegerField, TextField
from django.utils import timezone

from conversations.db.bulk_rows import Row
from conversations.formats import COST_PLACES, DRAFT_FIELDS, MessageDraft
from conversations.models import Message, Role, Status
from conversations.models.message import EMPTIED
from conversations.services.errors import InvalidValue, ServiceError
from conversations.services.validators import (
    as_stored,
    check_json,
    check_metadata,
    check_rating,
    check_text,
)

EMPTY_CONTENT = "The content may not be empty."
UNKNOWN_ROLE = "Unknown role. Roles are {roles} (in lower case)."
UNKNOWN_STATUS = "Unknown status. Statuses are {statuses}."
TOO_LONG = "Longer than {limit:,} characters."
NOT_AN_ANSWER = "Only a message with the role `assistant` can be `streaming`."
NOT_EMPTIED = "A message with `emptied_at` has nothing in this field."
NOT_AN_OBJECT = "Not an object."
SERVER_SETS_TIME = "The server sets this field; only a trusted client may."
IN_THE_FUTURE = "More than a day in the future."
FUTURE_ALLOWED = timedelta(days=1)
OUT_OF_RANGE = "Must be 0 to 2,147,483,647."

COST_LIMIT = 10**8
COST_OUT_OF_RANGE = f"Must be 0 or more, and less than {COST_LIMIT:,}."

# Django computes `.values` at each access.
_ROLES, _STATUSES = tuple(Role.values), tuple(Status.values)
# The model's columns by type; text columns with their maximum length or None.
_COLUMNS = [Message._meta.get_field(name) for name in DRAFT_FIELDS]
_TEXTS = {
    column.name: column.max_length
    for column in _COLUMNS
    if isinstance(column, CharField | TextField) and not column.choices
}
# The JSON columns but `metadata`, which has a limit of its own.
_JSON_COLUMNS = {
    column.name: dict if column.name == "extra" else list
    for column in _COLUMNS
    if isinstance(column, JSONField) and column.null
}
_COSTS = [column.name for column in _COLUMNS if isinstance(column, DecimalField)]
_COUNTS = [column.name for column in _COLUMNS if isinstance(column, PositiveIntegerField)]
_LARGEST_COUNT = 2**31 - 1


def check_draft(draft: MessageDraft, *, from_client: bool, by_person: bool = False) -> None:
    """Raise InvalidValue, naming the field, unless the message can be stored.

    `from_client` rejects user messages without any text but white space, and allows the status
    `streaming` for the role `assistant` alone. `by_person`: the client is neither a script nor
    trusted; it sets no times, and the length of its user messages is limited to
    CHAT_MAX_MESSAGE_CHARS.
    """
    if from_client:
        _check_client_rules(draft)
        if by_person:
            _check_rules_for_people(draft)
    _check_choice("role", draft.role, _ROLES, UNKNOWN_ROLE)
    _check_choice("status", draft.status, _STATUSES, UNKNOWN_STATUS)
    for column, limit in _TEXTS.items():
        _check_column(column, getattr(draft, column), limit)
    for column, kind in _JSON_COLUMNS.items():
        _check_json_column(column, getattr(draft, column), kind)
    _check_tool_calls(draft.tool_calls or ())
    for column in _COUNTS:
        _check_count(column, getattr(draft, column))
    for column in _COSTS:
        setattr(draft, column, _checked_cost(column, getattr(draft, column)))
    _check_time(draft.created_at)
    _check_emptied(draft)
    check_metadata(draft.metadata)
    check_rating(draft.rating)
    if _is_empty(draft):
        raise InvalidValue(EMPTY_CONTENT, field="content", code="blank")


def _check_client_rules(draft: MessageDraft) -> None:
    blank = draft.role == Role.USER and not draft.content.strip()
    if blank and not draft.parts and not draft.tool_calls:
        raise InvalidValue(EMPTY_CONTENT, field="content", code="blank")
    if draft.status == Status.STREAMING and draft.role != Role.ASSISTANT:
        raise InvalidValue(NOT_AN_ANSWER, field="status", code="not_an_answer")


def _check_rules_for_people(draft: MessageDraft) -> None:
    if draft.created_at is not None:
        raise InvalidValue(SERVER_SETS_TIME, field="created_at", code="read_only")
    limit = settings.CHAT_MAX_MESSAGE_CHARS
    if draft.role == Role.USER and len(draft.content) > limit:
        raise InvalidValue(TOO_LONG.format(limit=limit), field="content", code="max_length")


def _is_empty(draft: MessageDraft) -> bool:
    """The condition of the constraint `message_content_not_empty`, negated."""
    return (
        draft.content == ""
        and not draft.tool_calls
        and not draft.parts
        and draft.role != Role.TOOL
        and draft.status == Status.COMPLETE
        and draft.emptied_at is None
    )


def _check_emptied(draft: MessageDraft) -> None:
    """The condition of the constraint `message_emptied_is_empty`."""
    if draft.emptied_at is None:
        return
    for name, value in EMPTIED.items():
        if getattr(draft, name) != value:
            raise InvalidValue(NOT_EMPTIED, field=name, code="not_emptied")


def first_difference(row: Row, draft: MessageDraft, names: Iterable[str]) -> str | None:
    """The first of the columns `names` in which a stored row differs from the draft, or None.

    Metadata is compared too, unless the row was updated since it was stored.
    """
    unchanged = row["updated_at"] == row["created_at"]
    compared = (*names, "metadata") if unchanged else names
    return next(
        (name for name in compared if as_stored(row[name]) != as_stored(getattr(draft, name))), None
    )


def check_drafts(drafts: list[MessageDraft], *, from_client: bool, by_person: bool = False) -> None:
    """Check each; the field of an error has the index ("messages.3.content")."""
    for index, draft in enumerate(drafts):
        try:
            check_draft(draft, from_client=from_client, by_person=by_person)
        except ServiceError as error:
            raise error.with_field_prefix(f"messages.{index}") from None


def _check_choice(field: str, value: object, choices: tuple[str, ...], text: str) -> None:
    if value not in choices:
        names = ", ".join(choices)
        raise InvalidValue(
            text.format(roles=names, statuses=names), field=field, code="invalid_choice"
        )


def _check_column(column: str, value: str | None, limit: int | None) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidValue("Not a string.", field=column)
    check_text(column, value)
    if limit and len(value) > limit:
        raise InvalidValue(TOO_LONG.format(limit=limit), field=column, code="max_length")


def _check_time(created_at: datetime | None) -> None:
    """A time of the past, or of a client whose clock or time zone is wrong."""
    if created_at is not None and created_at > timezone.now() + FUTURE_ALLOWED:
        raise InvalidValue(IN_THE_FUTURE, field="created_at", code="in_the_future")


def _check_json_column(column: str, value: Any, kind: type[Any]) -> None:
    if value is None:
        return
    if not isinstance(value, kind):
        if kind is dict:
            raise InvalidValue(NOT_AN_OBJECT, field=column, code="not_an_object")
        raise InvalidValue("Not a list.", field=column, code="not_a_list")
    check_json(column, value)


def _check_tool_calls(calls: Iterable[Any]) -> None:
    """Calls, and `function` in each, must be objects, since readers use `id` and `function`."""
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
        raise InvalidValue(OUT_OF_RANGE, field=column)


def _checked_cost(column: str, value: object) -> Decimal | None:
    """Rounded to the places of the column, so that a repeated request equals the stored row."""
    if value is None:
        return None
    if not isinstance(value, Decimal):
        raise InvalidValue("Not a decimal number.", field=column)
    if not value.is_finite() or not 0 <= value < COST_LIMIT:
        raise InvalidValue(COST_OUT_OF_RANGE, field=column)
    return round(value, COST_PLACES)
