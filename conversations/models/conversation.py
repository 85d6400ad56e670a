"""Conversation: one chat of one owner."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from conversations.models.ids import new_id
from conversations.models.lookups import jsonb_is
from conversations.models.user_names import MARK, username_of

if TYPE_CHECKING:
    from conversations.models.access_context import AccessContext, Caller

DEFAULT_TITLE = "New Chat"


_RESERVE = """
    UPDATE conversations_conversation SET
        last_sequence = last_sequence + %(count)s,
        message_count = message_count + %(count)s,
        updated_at = GREATEST(updated_at, %(moved_at)s),
        title = CASE WHEN title = %(default_title)s AND NOT legal_hold
                     THEN COALESCE(%(title)s, title) ELSE title END
    WHERE id = %(id)s {owned}
    RETURNING last_sequence
"""
_OWNED = "AND user_id = %(owner)s"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Every look-up of conversations starts with what a caller may see, or with one owner."""

    def visible_to(self, access: AccessContext) -> ConversationQuerySet:
        """What may be read: one's own, those of a trusted client's users, any for staff."""
        caller = access.caller
        return self._within_reach(caller, caller is not None and caller.reader)

    def writable_by(self, access: AccessContext) -> ConversationQuerySet:
        caller = access.caller
        return self._within_reach(caller, caller is not None and caller.writer)

    def _within_reach(self, caller: Caller | None, anybodys: bool) -> ConversationQuerySet:
        if caller is None or anybodys:
            return self.all()
        own = Q(user_id=caller.user.pk)
        return self.filter(own | _users_of(caller.namespace) if caller.trusted else own)

    def owned_by(self, owner_id: int | RawSQL) -> ConversationQuerySet:
        return self.filter(user_id=owner_id)

    def newest_first(self) -> ConversationQuerySet:
        return self.order_by("-updated_at", "-id")

    def latest_of(self, owner_id: int) -> Conversation | None:
        """The owner's conversation with the newest activity that is not put away."""
        return self.owned_by(owner_id).filter(archived_at=None).newest_first().first()

    def reserve_sequences(
        self,
        conversation_id: uuid.UUID,
        *,
        owner_id: int | None,
        count: int,
        moved_at: datetime,
        title: str | None,
    ) -> int | None:
        """Lock the conversation, count `count` messages in, and return its last sequence.

        None when this owner (None: anybody) has no such conversation. `title` is taken only while
        the conversation still has the default one and is not on legal hold. One statement, so
        that appending to a conversation costs the same however long it is.
        """
        statement = _RESERVE.format(owned="" if owner_id is None else _OWNED)
        values: dict[str, Any] = {
            "id": conversation_id,
            "count": count,
            "moved_at": moved_at,
            "title": title,
            "default_title": DEFAULT_TITLE,
            "owner": owner_id,
        }
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone()
        return None if row is None else int(row[0])


def _users_of(namespace: str) -> Q:
    """The conversations of a namespace's users, or of those of none. Never those of staff, for
    whom no application acts."""
    mark = username_of("", namespace) if namespace else MARK
    named = Q(user__username__startswith=mark) if namespace else ~Q(user__username__contains=mark)
    return Q(user__is_staff=False, user__is_superuser=False) & named


class Conversation(models.Model):
    """One chat of one owner; its messages are ordered by `Message.sequence`.

    `message_count` and `last_sequence` are kept by the services under this row's lock, so
    that neither an append nor a list has to count messages.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # The database cascades (see the migration): DO_NOTHING keeps Django from loading
    # a user's whole history into memory in order to delete it row by row.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        related_name="conversations",
        db_constraint=False,
        db_index=False,
    )
    title = models.CharField(max_length=255, default=DEFAULT_TITLE)
    model_used = models.CharField(max_length=255, default="", blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    message_count = models.PositiveIntegerField(default=0, editable=False)
    last_sequence = models.PositiveIntegerField(default=0, editable=False)
    pinned = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    legal_hold = models.BooleanField(default=False)
    source = models.CharField(max_length=50, default="api", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        permissions = [
            ("act_for_any_user", "Can write in conversations of any user over the API"),
            ("export_conversation", "Can export conversations"),
            ("archive_conversation", "Can put conversations away and bring them back"),
            ("hold_conversation", "Can place and release legal holds"),
        ]
        constraints = [
            models.CheckConstraint(name="conversation_title_not_empty", condition=~Q(title="")),
            models.CheckConstraint(
                name="conversation_count_within_sequence",
                condition=Q(message_count__gte=0, last_sequence__gte=F("message_count")),
            ),
            models.CheckConstraint(
                name="conversation_metadata_is_object",
                condition=jsonb_is("metadata", "object"),
            ),
        ]
        indexes = [
            # An owner's list, newest activity first, and their latest conversation.
            models.Index(
                fields=["user", "-updated_at", "-id"], name="conversation_user_updated_idx"
            ),
            # The same by age.
            models.Index(
                fields=["user", "-created_at", "-id"], name="conversation_user_created_idx"
            ),
            # Staff's list over all owners, newest activity first.
            models.Index(fields=["-updated_at", "-id"], name="conversation_updated_idx"),
            # The same sorted by another column, from either end.
            models.Index(fields=["created_at", "id"], name="conversation_created_idx"),
            models.Index(fields=["message_count", "id"], name="conversation_length_idx"),
            models.Index(fields=["title", "id"], name="conversation_title_idx"),
            models.Index(fields=["model_used", "id"], name="conversation_model_idx"),
            # Is anything on legal hold? Staff's list of what is, newest activity first.
            models.Index(
                fields=["-updated_at", "-id"],
                condition=Q(legal_hold=True),
                name="conversation_held_idx",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def archived(self) -> bool:
        return self.archived_at is not None
