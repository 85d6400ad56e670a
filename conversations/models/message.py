"""Message: one entry of a conversation, ordered by its sequence."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, Left
from django.db.models.lookups import IsNull
from django.utils import timezone

from conversations.models.conversation import Conversation, owned_within_reach
from conversations.models.lookups import jsonb_has_items, jsonb_is
from conversations.models.owned import OwnedRow

if TYPE_CHECKING:
    from conversations.models.access_context import AccessContext


class Role(models.TextChoices):
    """The author of a message; names of the OpenAI chat format, case-sensitive."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"
    DEVELOPER = "developer"


class Status(models.TextChoices):
    """The state of an answer. All messages but the answers of turns are `complete`."""

    COMPLETE = "complete"
    STREAMING = "streaming"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class MessageQuerySet(models.QuerySet["Message"]):
    """Queries name the owner and the conversation, with which every key begins.

    Those over the messages of all owners are few: conversations/README.md lists them.
    """

    def of(self, owner_id: int | RawSQL, conversation_id: uuid.UUID | RawSQL) -> MessageQuerySet:
        """The messages of one conversation: an index range, without a join."""
        return self.filter(user_id=owner_id, conversation_id=conversation_id)

    def visible_to(self, access: AccessContext) -> MessageQuerySet:
        """Those that the caller may read, as for conversations."""
        caller = access.caller
        return self.filter(owned_within_reach(caller, caller is not None and caller.reader))

    def in_order(self) -> MessageQuerySet:
        return self.order_by("sequence")


# What an emptied message holds in the columns that had what was said; all others are kept.
EMPTIED: dict[str, Any] = {
    "content": "",
    "parts": None,
    "tool_calls": None,
    "tool_call_id": None,
    "name": None,
    "sources": None,
    "error": None,
    "rating_comment": None,
    "metadata": {},
    "extra": None,
}


def _is_emptied() -> Q:
    """None among the columns of JSON would be JSON's null."""
    nulls = {f"{name}__isnull": True for name, value in EMPTIED.items() if value is None}
    return Q(**nulls) & Q(content="", metadata={})


_JSON_SHAPES: list[tuple[str, str, Q]] = [
    ("metadata", "object", Q(jsonb_is("metadata", "object"))),
    ("extra", "object", Q(extra=None) | Q(jsonb_is("extra", "object"))),
    ("parts", "array", Q(parts=None) | Q(jsonb_is("parts", "array"))),
    ("tool_calls", "array", Q(tool_calls=None) | Q(jsonb_is("tool_calls", "array"))),
    ("sources", "array", Q(sources=None) | Q(jsonb_is("sources", "array"))),
]


MAX_ITEM_ID_CHARS = 255
# The id that an item of OpenAI's APIs was sent with, which is not that of its message. It is cut:
# `extra` may hold a text of any length, for which an index has no room.
SENT_ITEM_ID = Left(
    Coalesce(KeyTextTransform("id", "extra"), KeyTextTransform("id", KeyTransform("0", "parts"))),
    MAX_ITEM_ID_CHARS,
)


class Message(OwnedRow):
    """One entry of a conversation. `sequence` counts from 1; deleted messages leave gaps.

    Every key starts with the owner, so that the table can be sharded or partitioned by owner.
    """

    # Cascades in the database (migration 0002).
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    sequence = models.PositiveIntegerField()
    # The branch that it was written to, as in `branch_path.py`; 0 in a conversation without forks.
    branch = models.SmallIntegerField(default=0, db_default=0, editable=False)
    role = models.CharField(max_length=10, choices=Role)
    content = models.TextField(default="", blank=True)
    parts = models.JSONField(null=True, blank=True)
    tool_calls = models.JSONField(null=True, blank=True)
    # Null means absent, here and below: the formats distinguish it from an empty string.
    tool_call_id = models.CharField(max_length=255, null=True, blank=True)
    name = models.CharField(max_length=255, null=True, blank=True)
    provider = models.CharField(max_length=100, default="", blank=True)
    model = models.CharField(max_length=255, default="", blank=True)
    sources = models.JSONField(null=True, blank=True)
    detected_mode = models.CharField(max_length=50, null=True, blank=True)
    status = models.CharField(max_length=11, choices=Status, default=Status.COMPLETE)
    finish_reason = models.CharField(max_length=50, null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    # Of the prompt and the completion: what was read from a cache, what the model thought.
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    # In CHAT_COST_CURRENCY. A token costs as little as 1e-8, so many places.
    cost = models.DecimalField(max_digits=20, decimal_places=12, null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    rating = models.SmallIntegerField(null=True, blank=True)
    rating_comment = models.TextField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # What the sender's format has beyond these columns, under its own names; not searched.
    extra = models.JSONField(null=True, blank=True)
    # The process that runs this answer while it is `streaming`; internal to the server.
    runner = models.CharField(max_length=32, null=True, blank=True, editable=False)
    # When a retention rule emptied it: of what was said, nothing is left (`EMPTIED`).
    emptied_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        permissions = [("rate_message", "Can rate answers")]
        constraints = [
            # Also the index for pages of messages.
            models.UniqueConstraint(
                fields=["user", "conversation", "sequence"], name="message_sequence_unique"
            ),
            models.UniqueConstraint(
                fields=["user", "conversation", "branch"],
                condition=Q(status=Status.STREAMING),
                name="message_one_streaming_each",
            ),
            models.CheckConstraint(name="message_sequence_positive", condition=Q(sequence__gte=1)),
            models.CheckConstraint(name="message_role_known", condition=Q(role__in=Role.values)),
            models.CheckConstraint(
                name="message_status_known", condition=Q(status__in=Status.values)
            ),
            models.CheckConstraint(
                name="message_rating_known", condition=Q(rating__in=[-1, 1]) | Q(rating=None)
            ),
            models.CheckConstraint(
                name="message_cost_not_negative", condition=Q(cost__gte=0) | Q(cost=None)
            ),
            # Content may be empty with tool calls or parts, for the result of a tool, for an answer
            # that is running or has failed, and once it was emptied.
            models.CheckConstraint(
                name="message_content_not_empty",
                condition=~Q(content="")
                | Q(jsonb_has_items("tool_calls"))
                | Q(jsonb_has_items("parts"))
                | Q(role=Role.TOOL)
                | ~Q(status=Status.COMPLETE)
                | Q(emptied_at__isnull=False),
            ),
            models.CheckConstraint(
                name="message_emptied_is_empty",
                condition=Q(emptied_at=None) | _is_emptied(),
            ),
            *(
                models.CheckConstraint(name=f"message_{column}_is_{kind}", condition=condition)
                for column, kind, condition in _JSON_SHAPES
            ),
        ]
        indexes = [
            # Pages of branches other than the first line, which is dense in the index by sequence.
            models.Index(
                fields=["user", "conversation", "branch", "sequence"],
                condition=~Q(branch=0),
                name="message_branch_idx",
            ),
            # The admin's filter by role, newest first.
            models.Index(fields=["role", "-created_at"], name="message_role_created_idx"),
            # Conversations with a rating, by an index-only scan.
            models.Index(
                fields=["conversation"],
                include=["rating"],
                condition=Q(rating__isnull=False),
                name="message_rated_idx",
            ),
            # Items of a conversation by the ids that they were sent with.
            models.Index(
                F("user"),
                F("conversation"),
                SENT_ITEM_ID,
                F("sequence"),
                condition=Q(IsNull(SENT_ITEM_ID, False)),
                name="message_item_id_idx",
            ),
            # A client that resumes a turn sends only the id of its message.
            models.Index(fields=["id"], name="message_id_idx"),
            # An owner's messages by time: across their conversations, and their usage.
            models.Index(fields=["user", "created_at", "id"], name="message_user_created_idx"),
            # Date ranges over all conversations, and the statistics of the dashboard.
            models.Index(fields=["created_at"], name="message_created_idx"),
            # Filters of the admin: partial indexes on the rows that can match.
            models.Index(
                fields=["status", "-created_at"],
                include=["conversation"],
                condition=~Q(status=Status.COMPLETE),
                name="message_unfinished_idx",
            ),
            models.Index(
                fields=["detected_mode", "-created_at"],
                condition=Q(detected_mode__isnull=False),
                name="message_mode_idx",
            ),
            models.Index(
                fields=["provider", "model", "-created_at"],
                condition=Q(role=Role.ASSISTANT),
                name="message_answers_idx",
            ),
            GinIndex(
                fields=["tool_calls"],
                opclasses=["jsonb_path_ops"],
                condition=Q(tool_calls__isnull=False),
                name="message_tool_calls_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} #{self.sequence}"
