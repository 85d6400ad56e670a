"""Message: one entry of a conversation, ordered by its sequence."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.conversation import Conversation
from conversations.models.ids import new_id
from conversations.models.lookups import jsonb_has_items, jsonb_is


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
    """Queries are restricted to one conversation, or to conversations `visible_to` a caller."""

    def of(self, conversation: Conversation) -> MessageQuerySet:
        return self.filter(conversation_id=conversation.pk)

    def in_order(self) -> MessageQuerySet:
        return self.order_by("sequence")


_JSON_SHAPES: list[tuple[str, str, Q]] = [
    ("metadata", "object", Q(jsonb_is("metadata", "object"))),
    ("parts", "array", Q(parts=None) | Q(jsonb_is("parts", "array"))),
    ("tool_calls", "array", Q(tool_calls=None) | Q(jsonb_is("tool_calls", "array"))),
    ("sources", "array", Q(sources=None) | Q(jsonb_is("sources", "array"))),
]


class Message(models.Model):
    """One entry of a conversation. `sequence` counts from 1; deleted messages leave gaps.

    The primary key starts with the conversation, so that the table can be partitioned by it.
    """

    pk = models.CompositePrimaryKey("conversation_id", "id")
    id = models.UUIDField(default=new_id, editable=False)
    # Cascades in the database (migration 0002).
    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.DO_NOTHING,
        related_name="messages",
        db_constraint=False,
        db_index=False,
    )
    sequence = models.PositiveIntegerField()
    role = models.CharField(max_length=10, choices=Role)
    content = models.TextField(default="", blank=True)
    parts = models.JSONField(null=True, blank=True)
    tool_calls = models.JSONField(null=True, blank=True)
    # Null means absent, here and below: the formats distinguish it from an empty string.
    tool_call_id = models.CharField(max_length=255, null=True, blank=True)
    name = models.CharField(max_length=255, null=True, blank=True)
    provider = models.CharField(max_length=100, default="ollama", blank=True)
    model = models.CharField(max_length=255, default="", blank=True)
    sources = models.JSONField(null=True, blank=True)
    detected_mode = models.CharField(max_length=50, null=True, blank=True)
    status = models.CharField(max_length=11, choices=Status, default=Status.COMPLETE)
    finish_reason = models.CharField(max_length=50, null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    rating = models.SmallIntegerField(null=True, blank=True)
    rating_comment = models.TextField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    # The process that runs this answer while it is `streaming`; internal to the server.
    runner = models.CharField(max_length=32, null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        permissions = [("rate_message", "Can rate answers")]
        constraints = [
            # Also the index for pages of messages.
            models.UniqueConstraint(
                fields=["conversation", "sequence"], name="message_sequence_unique"
            ),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(status=Status.STREAMING),
                name="message_one_streaming",
            ),
            models.CheckConstraint(name="message_sequence_positive", condition=Q(sequence__gte=1)),
            models.CheckConstraint(name="message_role_known", condition=Q(role__in=Role.values)),
            models.CheckConstraint(
                name="message_status_known", condition=Q(status__in=Status.values)
            ),
            models.CheckConstraint(
                name="message_rating_known", condition=Q(rating__in=[-1, 1]) | Q(rating=None)
            ),
            # Content may be empty with tool calls or parts, for the result of a tool, and for an
            # answer that is running or has failed.
            models.CheckConstraint(
                name="message_content_not_empty",
                condition=~Q(content="")
                | Q(jsonb_has_items("tool_calls"))
                | Q(jsonb_has_items("parts"))
                | Q(role=Role.TOOL)
                | ~Q(status=Status.COMPLETE),
            ),
            *(
                models.CheckConstraint(name=f"message_{column}_is_{kind}", condition=condition)
                for column, kind, condition in _JSON_SHAPES
            ),
        ]
        indexes = [
            # The admin's filter by role, newest first.
            models.Index(fields=["role", "-created_at"], name="message_role_created_idx"),
            # Conversations with a rating, by an index-only scan.
            models.Index(
                fields=["conversation"],
                include=["rating"],
                condition=Q(rating__isnull=False),
                name="message_rated_idx",
            ),
            # A client that resumes a turn sends only the id of its message.
            models.Index(fields=["id"], name="message_id_idx"),
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
