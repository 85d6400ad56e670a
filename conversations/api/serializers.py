"""The shapes of requests and responses, from which the OpenAPI schema is generated.

Requests are validated by them. Responses are rows that are written as they are; lists and other
envelopes of responses are declared inline where they are answered.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from conversations.api.fields import (
    UNKNOWN_FIELD,
    CountField,
    ListField,
    ObjectField,
    RatingField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
    TitleField,
    ToolCallsField,
    UserIdField,
)
from conversations.models import Conversation, Message, Role, Status
from conversations.services.appending import MAX_BATCH

# What a client may record of an answer; `streaming` is a running turn's alone.
RECORDED_STATUSES = [choice for choice in Status.choices if choice[0] != Status.STREAMING]
_SERVER_SETS = frozenset({"created_at", "updated_at", "message_count", "sequence", "last_sequence"})


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation in responses."""

    user_id = UserIdField()
    metadata = ObjectField()
    archived = serializers.BooleanField()

    class Meta:
        model = Conversation
        fields = (
            "id",
            "user_id",
            "title",
            "model_used",
            "metadata",
            "message_count",
            "pinned",
            "archived",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class MessageSerializer(serializers.ModelSerializer[Message]):
    """A message in responses."""

    conversation_id = serializers.UUIDField()
    parts = ListField(allow_null=True)
    tool_calls = ListField(allow_null=True)
    sources = ListField(allow_null=True)
    rating = RatingField()
    metadata = ObjectField()

    class Meta:
        model = Message
        fields = (
            "id",
            "conversation_id",
            "sequence",
            "role",
            "content",
            "parts",
            "tool_calls",
            "tool_call_id",
            "name",
            "provider",
            "model",
            "sources",
            "detected_mode",
            "status",
            "finish_reason",
            "error",
            "prompt_tokens",
            "completion_tokens",
            "latency_ms",
            "first_token_ms",
            "rating",
            "rating_comment",
            "metadata",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class NewConversationSerializer(StrictSerializer):
    """A new conversation in requests."""

    read_only_names = _SERVER_SETS

    user_id = UserIdField(required=False)
    title = TitleField(required=False)
    model_used = StrictCharField(required=False, max_length=255)
    metadata = ObjectField(required=False)
    id = StrictUUIDField(required=False)


class ConversationChangesSerializer(StrictSerializer):
    """The fields of a conversation that a PATCH may change."""

    read_only_names = _SERVER_SETS | {"id", "user_id", "model_used"}

    title = TitleField(required=False)
    metadata = ObjectField(required=False)
    pinned = StrictBooleanField(required=False)
    archived = StrictBooleanField(required=False)


class NewMessageSerializer(StrictSerializer):
    """What a client gives of a new message; what is left out has the model's default."""

    read_only_names = _SERVER_SETS | {"conversation_id", "session_id"}

    role = serializers.ChoiceField(choices=Role.choices)
    content = StrictCharField(required=False)
    parts = ListField(required=False, allow_null=True)
    tool_calls = ToolCallsField(required=False, allow_null=True)
    tool_call_id = StrictCharField(required=False, allow_null=True, max_length=255)
    name = StrictCharField(required=False, allow_null=True, max_length=255)
    provider = StrictCharField(required=False, max_length=100)
    model = StrictCharField(required=False, max_length=255)
    sources = ListField(required=False, allow_null=True)
    detected_mode = StrictCharField(required=False, allow_null=True, max_length=50)
    status = serializers.ChoiceField(required=False, choices=RECORDED_STATUSES)
    finish_reason = StrictCharField(required=False, allow_null=True, max_length=50)
    error = StrictCharField(required=False, allow_null=True)
    prompt_tokens = CountField(required=False)
    completion_tokens = CountField(required=False)
    latency_ms = CountField(required=False)
    first_token_ms = CountField(required=False)
    metadata = ObjectField(required=False)
    id = StrictUUIDField(required=False)


class AppendSerializer(NewMessageSerializer):
    """One message."""

    expected_last_sequence = StrictIntegerField(required=False, min_value=0)


class BulkAppendSerializer(StrictSerializer):
    """Up to 1,000 messages, all of them or none."""

    messages = serializers.ListField(
        child=NewMessageSerializer(), allow_empty=False, min_length=1, max_length=MAX_BATCH
    )
    expected_last_sequence = StrictIntegerField(required=False, min_value=0)


class MessageChangesSerializer(StrictSerializer):
    """The fields of a message that a PATCH may change: never its content."""

    read_only_names = _SERVER_SETS | {
        name for name in MessageSerializer.Meta.fields if name not in {"rating", "metadata"}
    } - {"rating_comment"}

    rating = RatingField(required=False)
    rating_comment = StrictCharField(required=False, allow_null=True, max_length=10_000)
    metadata = ObjectField(required=False)


class ClientIdField(StrictUUIDField):
    """A client's own id where the contract has no `id`: anything but a UUID is an unknown field."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise serializers.ValidationError(UNKNOWN_FIELD, "unknown_field")
        return super().to_internal_value(data)


class NewSessionSerializer(NewConversationSerializer):
    """A new session in requests."""

    user_id = UserIdField()
    id = ClientIdField(required=False)


class ValidationErrorSerializer(serializers.Serializer[Any]):
    """Validation errors of the session-named routes."""

    detail = inline_serializer(
        "ValidationProblem",
        {
            "loc": serializers.ListField(
                child=serializers.JSONField(),
                help_text="Where: body, path, query or header, and a path.",
            ),
            "msg": serializers.CharField(),
            "type": serializers.CharField(),
        },
        many=True,
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error of this API."""

    type = serializers.ChoiceField(choices=["validation_error", "client_error", "server_error"])
    errors = inline_serializer(  # type: ignore[assignment]
        "ErrorItem",
        {
            "code": serializers.CharField(),
            "detail": serializers.CharField(),
            "attr": serializers.CharField(
                allow_null=True, help_text="The field at fault, as a path."
            ),
        },
        many=True,
    )
    request_id = serializers.CharField()


def fields_of(shape: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Its fields by name, for another shape; copied, since a shape has its fields in the order in
    which they were made."""
    return {name: deepcopy(field) for name, field in shape().get_fields().items()}
