"""The shapes of requests that write a running answer, and of what they are answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from conversations.api.fields import (
    ListField,
    StrictCharField,
    StrictIntegerField,
    StrictSerializer,
    ToolCallsField,
)
from conversations.api.serializers import MessageChangesSerializer, field_of
from conversations.models import Message, Status
from conversations.services.application_turns import END_FIELDS, END_STATUSES

END_CHOICES = [(status.value, status.label) for status in END_STATUSES]


class PieceSerializer(StrictSerializer):
    """What is added to a running answer; empty, it says that the application still runs."""

    content = StrictCharField(required=False)
    parts = ListField(required=False)
    tool_calls = ToolCallsField(required=False)


def _offset(counted: str) -> StrictIntegerField:
    text = f"How many {counted} are stored before what is sent."
    return StrictIntegerField(required=False, min_value=0, max_value=2**31 - 1, help_text=text)


class AnswerWriteSerializer(StrictSerializer):
    """A piece of a running answer, its end, or both."""

    read_only_names = MessageChangesSerializer.read_only_names

    append = PieceSerializer(required=False)
    offset = _offset("characters (Unicode code points) of `content`")
    parts_offset = _offset("elements of `parts`")
    tool_calls_offset = _offset("elements of `tool_calls`")
    content = StrictCharField(
        required=False, help_text="The whole text so far, instead of `append.content`."
    )
    status = serializers.ChoiceField(
        required=False,
        choices=END_CHOICES,
        help_text="Ends the answer; the fields below may be sent with it alone.",
    )

    def get_fields(self) -> dict[str, Any]:
        columns = {name: field_of(Message._meta.get_field(name)) for name in END_FIELDS}
        return super().get_fields() | columns


class AnswerStateSerializer(serializers.Serializer[Any]):
    """What is stored of an answer: where the next piece belongs."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Status.choices)
    offset = serializers.IntegerField(help_text="Characters (Unicode code points) of `content`.")
    parts_offset = serializers.IntegerField(help_text="Elements of `parts`.")
    tool_calls_offset = serializers.IntegerField(help_text="Elements of `tool_calls`.")
    stopping = serializers.BooleanField(
        help_text="Somebody has asked for the end of the answer: end it as `stopped`."
    )
