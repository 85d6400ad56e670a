"""The shapes of chat completions in the OpenAPI page: OpenAI's, as far as this server reads or
makes them. What else a provider says in an answer is passed through."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from conversations.api.fields import (
    ListField,
    ObjectField,
    StrictBooleanField,
    StrictCharField,
    StrictSerializer,
    ToolCallsField,
)
from conversations.formats.chat_completion import FINISH_REASONS


class ChatCompletionRequestSerializer(StrictSerializer):
    """What of a request is read here. All other fields are the provider's."""

    model = StrictCharField(
        allow_blank=False,
        max_length=255,
        help_text="`provider/model`, or the name of a model of the default provider.",
    )
    messages = ListField(help_text="The whole history, in OpenAI's form.")
    stream = StrictBooleanField(required=False, allow_null=True)
    stream_options = ObjectField(required=False, allow_null=True)
    store = StrictBooleanField(
        required=False, allow_null=True, help_text="False: nothing is kept but counts."
    )
    metadata = ObjectField(required=False, allow_null=True, help_text="Of the answer's message.")
    conversation_id = StrictCharField(required=False, allow_null=True)


class CompletionSerializer(serializers.Serializer[Any]):
    """A chat completion."""

    id = serializers.CharField(help_text="`chatcmpl-` and the id of the answer's message.")
    object = serializers.CharField(help_text="`chat.completion`")
    created = serializers.IntegerField()
    model = serializers.CharField()
    choices = inline_serializer(
        "CompletionChoice",
        {
            "index": serializers.IntegerField(),
            "finish_reason": serializers.ChoiceField(choices=sorted(FINISH_REASONS)),
            "logprobs": ObjectField(allow_null=True),
            "message": inline_serializer(
                "CompletionMessage",
                {
                    "role": serializers.ChoiceField(choices=["assistant"]),
                    "content": serializers.CharField(allow_null=True),
                    "refusal": serializers.CharField(allow_null=True),
                    "tool_calls": ToolCallsField(required=False),
                },
            ),
        },
        many=True,
    )
    usage = ObjectField(required=False)


class StoredCompletionSerializer(CompletionSerializer):
    """One that is recorded."""

    metadata = ObjectField()
    conversation_id = serializers.CharField()


class CompletionChangesSerializer(StrictSerializer):
    metadata = ObjectField(allow_null=True, help_text="Replaces what is stored; null is `{}`.")


class _PageSerializer(serializers.Serializer[Any]):
    object = serializers.CharField(help_text="`list`")
    first_id = serializers.CharField(help_text="Empty on an empty page.")
    last_id = serializers.CharField(help_text="The next page is `after` this.")
    has_more = serializers.BooleanField()


class CompletionListSerializer(_PageSerializer):
    data = StoredCompletionSerializer(many=True)  # type: ignore[assignment]


class CompletionMessageListSerializer(_PageSerializer):
    data = inline_serializer(  # type: ignore[assignment]
        "StoredCompletionMessage",
        {
            "id": serializers.CharField(),
            "role": serializers.CharField(),
            "content": serializers.CharField(allow_null=True),
            "refusal": serializers.CharField(allow_null=True),
            "content_parts": ListField(allow_null=True),
            "name": serializers.CharField(required=False),
            "tool_calls": ToolCallsField(required=False),
            "tool_call_id": serializers.CharField(required=False),
        },
        many=True,
    )


class CompletionDeletedSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    object = serializers.CharField(help_text="`chat.completion.deleted`")
    deleted = serializers.BooleanField()


MODEL = OpenApiParameter("model", OpenApiTypes.STR, description="As in requests.")
METADATA = OpenApiParameter(
    "metadata", OpenApiTypes.OBJECT, style="deepObject", explode=True, description="Values by key."
)
