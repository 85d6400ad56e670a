"""The shapes of requests and responses, from which the OpenAPI schema is generated.

Requests are validated by them. Responses are rows that are written as they are; lists and other
envelopes of responses are declared inline where they are answered.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from django.db.models import DateTimeField, DecimalField, JSONField, PositiveIntegerField
from django.db.models import Field as ModelField
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from conversations.api.fields import (
    UNKNOWN_FIELD,
    CostField,
    CountField,
    ExternalIdField,
    ListField,
    ObjectField,
    ParentField,
    RatingField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    StrictUUIDField,
    TagsField,
    TimeField,
    TitleField,
    ToolCallsField,
    UserIdField,
)
from conversations.formats import RECORDED_FIELDS, Malformed, as_own_fields
from conversations.formats.checks import MISSING
from conversations.formats.sdk_keys import KNOWN_KEYS
from conversations.models import Conversation, Message
from conversations.selectors.conversation_pages import SHOWN_FIELDS
from conversations.services.appending import MAX_BATCH
from conversations.services.application_turns import END_FIELDS, OFFSETS
from conversations.services.branch_placement import MAX_BRANCHES

ONLY_TRUSTED = (
    "Only a trusted client sets it, and at most a day ahead. It does not change the order."
)
# The owner rates a message once it is there.
_CLIENT_FIELDS = [
    name for name in RECORDED_FIELDS if name not in {"rating", "rating_comment", "emptied_at"}
]
_SERVER_SETS = frozenset(
    {
        *("created_at", "updated_at", "message_count", "sequence", "last_sequence"),
        *("branch", "siblings", "branch_count", "path_length", "forked_from"),
        *("emptied_at", "emptied_through"),
    }
)
PARENT = (
    "The message that this one follows, an earlier one of this request included, or `root` for a "
    "second beginning. Absent: the one before it in the request, or the end of the active branch."
)
ACTIVATE = "False: the conversation goes on to show the branch that it shows."
EXPECTED = "409 unless it is that of the branch written to; of a new one, of where it begins."


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation in responses."""

    user_id = UserIdField()
    metadata = ObjectField()
    external_id = ExternalIdField()
    tags = TagsField()
    archived = serializers.BooleanField()
    message_count = serializers.IntegerField(help_text="Messages on all branches.")
    path_length = serializers.IntegerField(help_text="Messages on the active branch.")
    active_branch = serializers.IntegerField(help_text="The number of the branch that is shown.")
    forked_from = serializers.UUIDField(allow_null=True, help_text="Of which it is a fork.")
    emptied_through = serializers.IntegerField(
        help_text="A retention rule emptied the messages up to this sequence; 0: none."
    )

    class Meta:
        model = Conversation
        fields = SHOWN_FIELDS
        read_only_fields = fields


# What a message's conversation says about it.
PLACE_ON_BRANCHES = ("branch", "parent_id", "siblings")


class MessageSerializer(serializers.ModelSerializer[Message]):
    """A message in responses."""

    conversation_id = serializers.UUIDField()
    branch = serializers.IntegerField(
        help_text="The number of the branch that it was written to; 0 is the first."
    )
    parent_id = serializers.UUIDField(
        allow_null=True, help_text="The message that it follows; null for a first one."
    )
    siblings = inline_serializer(
        "Siblings",
        {
            "position": serializers.IntegerField(help_text="Of this one, from 1."),
            "count": serializers.IntegerField(),
            "ids": serializers.ListField(child=serializers.UUIDField()),
        },
        allow_null=True,
        help_text="All that follow the same message, by time; null for the only one.",
    )
    rating = RatingField()
    cost = CostField()
    emptied_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When a retention rule emptied it: of what was said nothing is left.",
    )

    class Meta:
        model = Message
        fields = (
            *("id", "conversation_id", "sequence", *PLACE_ON_BRANCHES),
            *(*RECORDED_FIELDS, "updated_at"),
        )
        read_only_fields = fields

    def build_standard_field(
        self, field_name: str, model_field: ModelField[Any, Any]
    ) -> tuple[Any, Any]:
        """JSON columns as what they hold, which the model field alone does not tell."""
        if isinstance(model_field, JSONField):
            options = {"allow_null": True} if model_field.null else {}
            return _json_field(model_field), options
        return super().build_standard_field(field_name, model_field)


class ConversationChangesSerializer(StrictSerializer):
    """The fields of a conversation that a PATCH may change."""

    read_only_names = _SERVER_SETS | {"id", "user_id", "model_used"}

    title = TitleField(required=False)
    metadata = ObjectField(required=False)
    external_id = ExternalIdField(required=False)
    tags = TagsField(required=False)
    pinned = StrictBooleanField(required=False)
    archived = StrictBooleanField(required=False)
    active_branch = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=MAX_BRANCHES,
        help_text="The number of the branch to show from now on.",
    )
    active_message_id = StrictUUIDField(
        required=False, help_text="Show the newest branch through this message."
    )


class ConversationMergePatchSerializer(ConversationChangesSerializer):
    """The same as a JSON merge patch: null removes a key of `metadata`, or all of it."""

    metadata = ObjectField(required=False, allow_null=True)


class NewMessageSerializer(StrictSerializer):
    """Request body of a new message, in our form or that of an SDK; absent fields have the model's
    defaults."""

    read_only_names = _SERVER_SETS - {"created_at"} | {"conversation_id", "session_id"}
    other_names = KNOWN_KEYS

    id = StrictUUIDField(required=False)
    parent_id = ParentField(required=False, help_text=PARENT)

    def get_fields(self) -> dict[str, Any]:
        columns = {name: field_of(Message._meta.get_field(name)) for name in _CLIENT_FIELDS}
        return columns | super().get_fields()

    def to_internal_value(self, data: Any) -> Any:
        try:
            return super().to_internal_value(
                as_own_fields(data) if isinstance(data, dict) else data
            )
        except Malformed as error:
            code = "required" if error.detail == MISSING else "invalid"
            detail = serializers.ErrorDetail(error.detail, code)
            raise serializers.ValidationError(
                {error.field or "non_field_errors": [detail]}
            ) from None


def field_of(column: Any) -> serializers.Field[Any, Any, Any, Any]:
    """The field that reads a column of the message from a request."""
    options: dict[str, Any] = {"required": column.name == "role"}
    if isinstance(column, PositiveIntegerField):
        return CountField(**options)
    if isinstance(column, DecimalField):
        return CostField(**options)
    if isinstance(column, DateTimeField):
        return TimeField(help_text=ONLY_TRUSTED, **options)
    if column.choices:
        return serializers.ChoiceField(choices=column.choices, **options)
    if column.null:
        options["allow_null"] = True
    if isinstance(column, JSONField):
        return _json_field(column)(**options)
    if column.max_length:
        options["max_length"] = column.max_length
    return StrictCharField(**options)


def _json_field(column: JSONField[Any, Any]) -> type[serializers.Field[Any, Any, Any, Any]]:
    if column.default is dict or column.name == "extra":
        return ObjectField
    return ToolCallsField if column.name == "tool_calls" else ListField


class NewConversationSerializer(StrictSerializer):
    """A new conversation in requests."""

    read_only_names = _SERVER_SETS

    user_id = UserIdField(required=False)
    title = TitleField(required=False)
    model_used = StrictCharField(required=False, max_length=255)
    metadata = ObjectField(required=False)
    external_id = ExternalIdField(
        required=False,
        help_text=(
            "Your own name for it, unique among the owner's: an existing conversation of this name "
            "is returned instead (200)."
        ),
    )
    tags = TagsField(required=False)
    id = StrictUUIDField(required=False)
    messages = serializers.ListField(
        child=NewMessageSerializer(),
        required=False,
        max_length=MAX_BATCH,
        help_text="What it begins with: all of them are stored with it, or nothing is.",
    )


class AppendSerializer(NewMessageSerializer):
    """One message."""

    expected_last_sequence = StrictIntegerField(required=False, min_value=0, help_text=EXPECTED)
    activate = StrictBooleanField(required=False, help_text=ACTIVATE)


class BulkAppendSerializer(StrictSerializer):
    """Up to 1,000 messages, all of them or none."""

    messages = serializers.ListField(
        child=NewMessageSerializer(), allow_empty=False, min_length=1, max_length=MAX_BATCH
    )
    expected_last_sequence = StrictIntegerField(required=False, min_value=0, help_text=EXPECTED)
    activate = StrictBooleanField(required=False, help_text=ACTIVATE)


# A PATCH with any of these writes a running answer.
ANSWER_NAMES = ("append", "content", *OFFSETS.values(), "status", *END_FIELDS)


class MessageChangesSerializer(StrictSerializer):
    """The fields of a message that its owner may change at any time: never what was said."""

    read_only_names = _SERVER_SETS | {
        name for name in MessageSerializer.Meta.fields if name not in {"rating", "metadata"}
    } - {"rating_comment"}

    rating = RatingField(required=False)
    rating_comment = StrictCharField(required=False, allow_null=True, max_length=10_000)
    metadata = ObjectField(required=False)

    @property
    def known_names(self) -> list[str]:
        return [*self.fields, *ANSWER_NAMES]


class MessageMergePatchSerializer(MessageChangesSerializer):
    """The same as a JSON merge patch: null removes a key of `metadata`, or all of it."""

    metadata = ObjectField(required=False, allow_null=True)


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
