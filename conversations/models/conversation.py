"""Conversation: a chat with its owner, title and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, OuterRef, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from conversations.models.ids import new_id
from conversations.models.lookups import jsonb_is
from conversations.models.user_names import NAMESPACE_SEPARATOR, username_of

if TYPE_CHECKING:
    from conversations.models.access_context import AccessContext, Caller

DEFAULT_TITLE = "New Chat"


def owned_within_reach(caller: Caller | None, all_owners: bool) -> Q:
    """The rows, of any table with a `user`, of the owners whose data the caller may access."""
    if caller is None or all_owners:
        return Q()
    own = Q(user_id=caller.user.pk)
    return own | is_user_of(caller.namespace, prefix="user__") if caller.trusted else own


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Queries start with `visible_to` a caller, `writable_by` a caller, or `owned_by` a user."""

    def visible_to(self, access: AccessContext) -> ConversationQuerySet:
        """Those that the caller may read: their own; for a trusted client those of its users; for
        staff with the right to read, and for scripts, all."""
        caller = access.caller
        return self._accessible_to(caller, caller is not None and caller.reader)

    def writable_by(self, access: AccessContext) -> ConversationQuerySet:
        """Those that the caller may write to, by the same rules with the right to write."""
        caller = access.caller
        return self._accessible_to(caller, caller is not None and caller.writer)

    def _accessible_to(self, caller: Caller | None, all_owners: bool) -> ConversationQuerySet:
        return self.filter(owned_within_reach(caller, all_owners))

    def owned_by(self, owner_id: int | RawSQL | OuterRef) -> ConversationQuerySet:
        return self.filter(user_id=owner_id)

    def tagged(self, tags: Sequence[str]) -> ConversationQuerySet:
        """Those with all of these tags; by the partial index, which leaves out the untagged."""
        return self.exclude(tags=[]).filter(tags__contains=list(tags))

    def with_metadata(self, key: str, values: Sequence[Any]) -> ConversationQuerySet:
        """Those whose metadata has one of the values under the key, at the top level; by the
        partial index, as above."""
        found = Q()
        for value in values:
            found |= Q(metadata__contains={key: value})
        return self.exclude(metadata={}).filter(found)

    def newest_first(self) -> ConversationQuerySet:
        return self.order_by("-updated_at", "-id")

    def latest_of(self, owner_id: int) -> Conversation | None:
        """The owner's conversation with the newest activity that is not archived."""
        return self.owned_by(owner_id).filter(archived_at=None).newest_first().first()


def is_user_of(namespace: str, *, prefix: str = "") -> Q:
    """Users of a namespace ("": those without one), except staff: a trusted client never acts for
    staff. `prefix` is the lookup path to the user, such as "user__"."""
    if namespace:
        in_namespace = Q(**{f"{prefix}username__startswith": username_of("", namespace)})
    else:
        in_namespace = ~Q(**{f"{prefix}username__contains": NAMESPACE_SEPARATOR})
    return Q(**{f"{prefix}is_staff": False, f"{prefix}is_superuser": False}) & in_namespace


class Conversation(models.Model):
    """A chat of one user, the owner; its messages are ordered by `Message.sequence`.

    Services update `message_count` and `last_sequence` under the lock of this row, so that
    appends and lists do not count messages.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Cascades in the database (migration 0002). With Django's CASCADE, deleting a user would
    # load all of their messages into memory.
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
    # What the application calls it: unique among the owner's conversations.
    external_id = models.CharField(max_length=255, null=True, blank=True)
    # The defaults of the database, here and below, are for processes of an earlier release.
    tags = ArrayField(models.CharField(max_length=50), default=list, db_default=[], blank=True)
    message_count = models.PositiveIntegerField(default=0, editable=False)
    last_sequence = models.PositiveIntegerField(default=0, editable=False)
    # Branches have a table of their own, with no row while there is one (`branch.py`). Numbers are
    # not used again: `last_branch` is the highest one so far.
    active_branch = models.SmallIntegerField(default=0, db_default=0, editable=False)
    branch_count = models.PositiveSmallIntegerField(default=1, db_default=1, editable=False)
    last_branch = models.SmallIntegerField(default=0, db_default=0, editable=False)
    forked_from = models.UUIDField(null=True, blank=True, editable=False)
    # Retention rules have emptied the messages up to this sequence.
    emptied_through = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    pinned = models.BooleanField(default=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    legal_hold = models.BooleanField(default=False)
    source = models.CharField(max_length=50, default="api", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        permissions = [
            ("act_for_any_user", "Can write to conversations of any user through the API"),
            ("export_conversation", "Can export conversations"),
            ("archive_conversation", "Can archive and unarchive conversations"),
            ("hold_conversation", "Can place and release legal holds"),
        ]
        constraints = [
            # Referenced by the tables of a conversation's data.
            models.UniqueConstraint(fields=["user", "id"], name="conversation_owner_unique"),
            # Also the index for look-ups by it.
            models.UniqueConstraint(
                fields=["user", "external_id"],
                condition=Q(external_id__isnull=False),
                name="conversation_external_id_unique",
            ),
            models.CheckConstraint(name="conversation_title_not_empty", condition=~Q(title="")),
            models.CheckConstraint(
                name="conversation_external_id_not_empty", condition=~Q(external_id="")
            ),
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
            # The list of an owner, newest activity first.
            models.Index(
                fields=["user", "-updated_at", "-id"], name="conversation_user_updated_idx"
            ),
            # `latest_of`, however many newer conversations are archived.
            models.Index(
                fields=["user", "-updated_at", "-id"],
                condition=Q(archived_at=None),
                name="conversation_latest_idx",
            ),
            # The list of an owner by creation time.
            models.Index(
                fields=["user", "-created_at", "-id"], name="conversation_user_created_idx"
            ),
            # The list of all owners in the admin, newest activity first.
            models.Index(fields=["-updated_at", "-id"], name="conversation_updated_idx"),
            # The same sorted by another column, ascending or descending.
            models.Index(fields=["created_at", "id"], name="conversation_created_idx"),
            models.Index(fields=["message_count", "id"], name="conversation_length_idx"),
            models.Index(fields=["title", "id"], name="conversation_title_idx"),
            models.Index(fields=["model_used", "id"], name="conversation_model_idx"),
            # An external id over all owners: for staff, and for an application over its users.
            models.Index(
                fields=["external_id"],
                condition=Q(external_id__isnull=False),
                name="conversation_external_id_idx",
            ),
            # Filters by tag and by metadata. Partial, since most conversations have neither, and an
            # append to a conversation writes to all of its indexes.
            GinIndex(fields=["tags"], condition=~Q(tags=[]), name="conversation_tags_idx"),
            GinIndex(
                fields=["metadata"],
                opclasses=["jsonb_path_ops"],
                condition=~Q(metadata={}),
                name="conversation_metadata_idx",
            ),
            # Conversations on legal hold, newest activity first.
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
