"""A request that a client's library sends again, since the first one got no answer.

OpenAI's SDKs do so by themselves and say it in a header, but send no key by which the two could be
told to be one. The input is stored already: the second answer belongs beside the first.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.utils import timezone

from conversations.chat.responses.asked import Asked
from conversations.chat.responses.response import REQUEST
from conversations.db.bulk_rows import Row
from conversations.models import Message, Role, Status
from conversations.selectors.branches import latest_up_to
from conversations.services.drafts import first_difference

# A library tries again within seconds; it may have waited ten minutes for the first answer.
WITHIN = timedelta(minutes=15)
# So many of an owner's latest unanswered requests are looked at.
LOOKED_AT = 5
_WITHOUT_ANSWER = (Status.FAILED, Status.STOPPED, Status.INTERRUPTED)
_COMPARED = ("role", "content", "parts", "tool_calls", "tool_call_id", "name", "extra")


class StoredInput(NamedTuple):
    """The sequence of the first message of an input, and the id of its last."""

    begins_at: int
    last_id: uuid.UUID


def input_before(owner: User, asked: Asked, conversation_id: uuid.UUID) -> StoredInput | None:
    """The stored input of an equal request in this conversation that got no answer."""
    if not asked.drafts:
        return None
    answers = Message.objects.filter(
        user_id=owner.pk,
        conversation_id=conversation_id,
        role=Role.ASSISTANT,
        status__in=_WITHOUT_ANSWER,
        created_at__gte=timezone.now() - WITHIN,
        **{f"extra__{REQUEST}": asked.kept()},
    )
    for answer in answers.only("branch", "sequence").order_by("-created_at")[:LOOKED_AT]:
        rows = _input_of(answer, len(asked.drafts))
        if _are_equal(rows, asked):
            return StoredInput(rows[0]["sequence"], rows[-1]["id"])
    return None


def _input_of(answer: Message, count: int) -> list[Row]:
    """The messages before an answer, oldest first."""
    where = answer.user_id, answer.conversation_id
    names = (*_COMPARED, "id", "sequence", "metadata", "created_at", "updated_at")
    before = (answer.branch, answer.sequence - 1)
    rows = latest_up_to(Message.objects.of(*where), *where, before, limit=count)
    return list(rows.values(*names))[::-1]


def _are_equal(rows: list[Row], asked: Asked) -> bool:
    if len(rows) != len(asked.drafts):
        return False
    pairs = zip(rows, asked.drafts, strict=True)
    return not any(first_difference(row, draft, _COMPARED) for row, draft in pairs)
