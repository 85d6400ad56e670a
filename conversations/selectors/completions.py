"""Answers of models as stored completions: one, an owner's by time, and what it is an answer to."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Q, QuerySet

from conversations.formats.chat_completion import COLUMNS
from conversations.models import Message, Role, Status
from conversations.models.branch_path import number_of
from conversations.selectors.branches import on_path, path_of

Row = dict[str, Any]

# The columns of a message that an answer was given to.
ASKED_COLUMNS = (
    *("id", "role", "content", "parts", "tool_calls", "tool_call_id", "name", "extra", "sequence"),
)


def completion_row(owner_id: int, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Row | None:
    """By COLUMNS."""
    rows = _completions(owner_id).filter(conversation_id=conversation_id, id=message_id)
    found: Row | None = rows.values(*COLUMNS).first()
    return found


def completion_rows(
    owner_id: int,
    *,
    model: str | None,
    metadata: dict[str, str],
    after: uuid.UUID | None,
    descending: bool,
    limit: int,
) -> list[Row] | None:
    """At most `limit` of an owner's by time, by COLUMNS: those of a `model` or `provider/model`,
    with these metadata, beyond `after`. None where the owner has no such answer as `after`.

    A range of the index message_user_created_idx, filtered.
    """
    rows = _completions(owner_id)
    if model is not None:
        provider, _, name = model.partition("/")
        rows = rows.filter(Q(model=model) | Q(provider=provider, model=name))
    if metadata:
        rows = rows.filter(metadata__contains=metadata)
    if after is not None:
        place = _completions(owner_id).filter(id=after).values_list("created_at", "id").first()
        if place is None:
            return None
        at, id_ = place
        step = "lt" if descending else "gt"
        tied = Q(created_at=at, **{f"id__{step}": id_})
        beyond = Q(**{f"created_at__{step}": at}) | tied
        rows = rows.filter(beyond, **{f"created_at__{step}e": at})
    order = ("-created_at", "-id") if descending else ("created_at", "id")
    return list(rows.order_by(*order).values(*COLUMNS)[:limit])


def rows_asked(
    owner_id: int,
    conversation_id: uuid.UUID,
    place: tuple[int, int],
    *,
    after: uuid.UUID | None,
    descending: bool,
    limit: int,
) -> list[Row] | None:
    """At most `limit` of the messages before a place on its path, by ASKED_COLUMNS; those beyond
    `after`, None where it is none of them."""
    branch, sequence = place
    path = path_of(owner_id, conversation_id, number_of(branch))
    if path is None:
        return None
    messages = Message.objects.of(owner_id, conversation_id).filter(sequence__lt=sequence)
    rows = on_path(messages, path)
    if after is not None:
        at = rows.filter(id=after).values_list("sequence", flat=True).first()
        if at is None:
            return None
        rows = rows.filter(**{"sequence__lt" if descending else "sequence__gt": at})
    order = "-sequence" if descending else "sequence"
    return list(rows.order_by(order).values(*ASKED_COLUMNS)[:limit])


def _completions(owner_id: int) -> QuerySet[Message]:
    """Ended answers that name the provider that gave them."""
    rows = Message.objects.filter(user_id=owner_id, role=Role.ASSISTANT)
    return rows.exclude(Q(provider="") | Q(status=Status.STREAMING))
