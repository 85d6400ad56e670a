"""Which conversations are due to be deleted or emptied, and how many they are.

The age of a conversation is that of its newest message: its `updated_at`. One on legal hold is
never due, nor one in which an answer is running.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.db.models import Count, Exists, F, Min, OuterRef, Q, Sum
from psycopg2.errors import QueryCanceled

from conversations.models import Conversation, Message, RetentionAct, Status
from conversations.models.conversation import ConversationQuerySet, is_user_of

# A preview counts so many conversations, or as many as it finds in this time.
PREVIEWED = 100_000
PREVIEW_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Conversations that match all that is given; `before` is compared with their last activity.

    None means any owner, group or time; the empty text any model, tag or namespace.
    """

    act: str
    before: datetime | None = None
    owner_id: int | None = None
    group_id: int | None = None
    model_used: str = ""
    tag: str = ""
    namespace: str = ""
    keep_pinned: bool = False

    def matching(self) -> ConversationQuerySet:
        """Old enough and within the limits, those that are left out all the same included.

        Without a join, so that its rows can be locked.
        """
        found = Conversation.objects.all()
        if self.owner_id is not None:
            found = found.owned_by(self.owner_id)
        if self.before is not None:
            found = found.filter(updated_at__lt=self.before)
        if self.model_used:
            found = found.filter(model_used=self.model_used)
        if self.tag:
            found = found.tagged([self.tag])
        if self.group_id is not None:
            found = found.filter(user__in=User.objects.filter(groups=self.group_id))
        if self.namespace:
            found = found.filter(user__in=User.objects.filter(is_user_of(self.namespace)))
        if self.act == RetentionAct.EMPTY:
            found = found.filter(emptied_through__lt=F("last_sequence"))
        return found

    def conversations(self) -> ConversationQuerySet:
        found = self.matching().filter(legal_hold=False).exclude(_is_running())
        return found.filter(pinned=False) if self.keep_pinned else found

    def still_due(self, owner_id: int) -> ConversationQuerySet:
        """Those of an owner, who is one of those meant: read by their own rows, to be locked."""
        return replace(self, owner_id=owner_id, group_id=None, namespace="").conversations()


def _is_running() -> Exists:
    running = Message.objects.filter(
        user_id=OuterRef("user_id"), conversation_id=OuterRef("pk"), status=Status.STREAMING
    )
    return Exists(running)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be done: `conversations` with `messages`, the one with the `oldest` activity, and
    how many of those that match are left out.

    `bounded`: there are more, of which only the oldest PREVIEWED were counted. `timed_out`: it took
    too long, and there are no figures.
    """

    conversations: int = 0
    messages: int = 0
    oldest: datetime | None = None
    pinned: int = 0
    held: int = 0
    bounded: bool = False
    timed_out: bool = False


def preview(due: Due) -> Preview:
    """Bounded in rows and in time, however many conversations there are."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL statement_timeout = %s", [f"{round(PREVIEW_SECONDS * 1000)}ms"]
            )
            found = _counts(due, due.matching().order_by("updated_at", "pk")[:PREVIEWED])
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            return Preview(timed_out=True)
        raise
    return Preview(bounded=found.pop("counted") == PREVIEWED, **found)


def count_due(due: Due) -> dict[str, Any]:
    """The figures of a preview over all conversations, without bounds."""
    found = _counts(due, due.matching())
    del found["counted"]
    return found


def _counts(due: Due, matching: ConversationQuerySet) -> dict[str, Any]:
    held, pinned = Q(legal_hold=True), Q(legal_hold=False, pinned=True)
    goes = Q(legal_hold=False, pinned=False) if due.keep_pinned else Q(legal_hold=False)
    found = matching.aggregate(
        conversations=Count("pk", filter=goes),
        messages=Sum("message_count", filter=goes, default=0),
        oldest=Min("updated_at", filter=goes),
        pinned=Count("pk", filter=pinned),
        held=Count("pk", filter=held),
        counted=Count("pk"),
    )
    return found if due.keep_pinned else found | {"pinned": 0}
