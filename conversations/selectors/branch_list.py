"""The branches of a conversation as they are listed: where each forked, and how it begins."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import (
    Case,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    SmallIntegerField,
    Subquery,
    UUIDField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Coalesce, Left

from conversations.models import Branch, Conversation, Message
from conversations.models.branch_path import CONTINUED, FIRST_LINE

# Enough for the first words, also after white space.
READ_CHARS = 500
Id = uuid.UUID | RawSQL


def listed_branches(owner_id: int | RawSQL, conversation_id: Id) -> QuerySet[Branch]:
    """The rows of a conversation's branches, each with `forked_after` (the id of the message that
    it forked after) and `beginning` (of its own first message); null where there is none."""
    messages = Message.objects.of(owner_id, conversation_id)
    # The first line is dense in the index by sequence, up to the first fork.
    line_end = Cast(KeyTextTransform("1", KeyTransform("0", "segments")), IntegerField())
    line = messages.filter(branch=FIRST_LINE, sequence__lte=OuterRef("line_end"))
    others = messages.exclude(branch=FIRST_LINE).filter(branch=OuterRef("own_messages"))
    own_messages = Case(
        When(number=FIRST_LINE, then=Value(CONTINUED)),
        default=F("number"),
        output_field=SmallIntegerField(),
    )
    forked_after = messages.filter(sequence=OuterRef("fork_sequence")).values("id")
    return (
        Branch.objects.of(owner_id, conversation_id)
        .annotate(line_end=line_end, own_messages=own_messages)
        .annotate(
            forked_after=Subquery(forked_after),
            beginning=Coalesce(
                Case(When(number=FIRST_LINE, then=_beginning(line))), _beginning(others)
            ),
        )
    )


def only_branch(owner_id: int, conversation_id: uuid.UUID) -> dict[str, Any] | None:
    """The same for a conversation with a single line, from its own row."""
    messages = Message.objects.of(owner_id, conversation_id)
    found = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id, last_branch=0)
    rows = found.values(
        "last_sequence",
        "updated_at",
        number=Value(FIRST_LINE),
        parent=Value(None, SmallIntegerField()),
        forked_after=Value(None, UUIDField()),
        length=F("message_count"),
        beginning=_beginning(messages),
    )
    return next((dict(row) for row in rows), None)


def _beginning(messages: QuerySet[Message]) -> Subquery:
    first = messages.order_by("sequence").annotate(beginning=Left("content", READ_CHARS))
    return Subquery(first.values("beginning")[:1])
