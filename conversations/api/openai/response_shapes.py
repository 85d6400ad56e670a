"""The shapes of `/v1/responses` in the OpenAPI page: OpenAI's, as far as this server makes them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from conversations.api.fields import ListField, ObjectField
from conversations.api.openai.shapes import OpenAIErrorSerializer, OpenAIItemSerializer
from conversations.api.sse import MEDIA_TYPE

STATUSES = ("completed", "failed", "in_progress", "cancelled", "queued", "incomplete")


class ResponseSerializer(serializers.Serializer[Any]):
    """A Response."""

    id = serializers.CharField(help_text="`resp_` and the id of the answer's message.")
    object = serializers.CharField(help_text="`response`")
    created_at = serializers.IntegerField()
    completed_at = serializers.IntegerField(allow_null=True)
    status = serializers.CharField(help_text=f"One of {', '.join(STATUSES)}.")
    background = serializers.BooleanField()
    model = serializers.CharField()
    output = OpenAIItemSerializer(many=True)
    usage = ObjectField(allow_null=True)
    error = ObjectField(allow_null=True, help_text="`{code, message}` where it failed.")
    incomplete_details = ObjectField(allow_null=True)
    conversation = ObjectField(allow_null=True, help_text="`{id}`; null with `store: false`.")
    previous_response_id = serializers.CharField(allow_null=True)
    instructions = serializers.CharField(allow_null=True)
    tools = ListField()
    metadata = ObjectField()
    store = serializers.BooleanField()


RESPONSE_ID = OpenApiParameter(
    "response_id",
    OpenApiTypes.STR,
    OpenApiParameter.PATH,
    description="`resp_…`: any answer of a model, whichever way it was asked for.",
)
STREAM = OpenApiParameter("stream", OpenApiTypes.BOOL, description="Answer with events.")
STARTING_AFTER = OpenApiParameter(
    "starting_after",
    OpenApiTypes.INT,
    description="With `stream`: the `sequence_number` of the last event seen.",
)
OBFUSCATION = OpenApiParameter("include_obfuscation", OpenApiTypes.BOOL, description="Ignored.")
RESPONSES = {
    (200, "application/json"): ResponseSerializer,
    (200, MEDIA_TYPE): OpenApiTypes.STR,
}
FAILURES = {
    status: OpenApiResponse(OpenAIErrorSerializer, description=text)
    for status, text in {
        429: "The provider's own answer, as are 400, 404, 413 and 422.",
        502: "The provider failed.",
        504: "It did not answer in time.",
    }.items()
}
DELETED = inline_serializer(
    "ResponseDeleted",
    {
        "id": serializers.CharField(),
        "object": serializers.CharField(),
        "deleted": serializers.BooleanField(),
    },
)
