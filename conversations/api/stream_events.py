"""The events of a stream in the OpenAPI schema, as a client reads them: `chat/events.py` makes
them, `sse.py` sends them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema_field,
    inline_serializer,
)
from rest_framework.serializers import CharField, IntegerField, JSONField, Serializer, UUIDField

from conversations.api.fields import ListField
from conversations.api.serializers import ErrorSerializer, fields_of

_ID = "Send it as `Last-Event-ID` to go on after this event."
_DESCRIPTION = (
    "Server-sent events: each has the fields `id`, `event` (its name) and `data`, which is one "
    "line of JSON. `start` comes first, `done` or `error` last."
)


def _one_of(*texts: str) -> CharField:
    """A field with one of these texts, for whose list no component is made."""
    shape = {"const": texts[0]} if len(texts) == 1 else {"enum": list(texts)}
    described = extend_schema_field({"type": "string", **shape})
    return described(type("_OneOf", (CharField,), {}))()  # type: ignore[no-any-return]


def _data(outcome: type[Serializer[Any]]) -> dict[str, dict[str, Any]]:
    """The fields of `data` by the name of the event; `outcome` is the shape of a whole turn, and
    the data of `done`."""
    step = {
        "message_id": UUIDField(help_text="The message of this step."),
        "step": IntegerField(help_text="Counts from 1; each call of tools begins another."),
    }
    call = {"tool_call_id": CharField(), "tool": CharField()}
    return {
        "start": {
            "conversation_id": UUIDField(),
            "message_id": UUIDField(help_text="The message that holds the answer."),
            "user_message_id": UUIDField(allow_null=True, help_text="The question's message."),
            "provider": CharField(),
            "model": CharField(),
        },
        "sources": {"sources": ListField(help_text="What was found for the question.")},
        "mode": {"mode": CharField(help_text="The intent that was detected.")},
        "reasoning": {"text": CharField(help_text="A piece of what the model thinks."), **step},
        "delta": {"text": CharField(help_text="A piece of the answer."), **step},
        "tool_call": {
            "message_id": UUIDField(),
            **call,
            "arguments": CharField(help_text="As the model wrote them: JSON, as a rule."),
        },
        "tool_result": {
            **call,
            "result": JSONField(help_text="JSON, or text where the tool gave no JSON."),
            "task_id": CharField(allow_null=True),
        },
        "error": {
            **fields_of(outcome),
            "status": _one_of("failed", "interrupted"),
            **fields_of(ErrorSerializer),
            "type": _one_of("server_error"),
        },
    }


def _title(name: str) -> str:
    return "".join(word.title() for word in name.split("_"))


def event_responses(outcome: type[Serializer[Any]]) -> OpenApiResponse:
    """The body of a stream: any number of events, each of one of these shapes."""
    data: dict[str, Serializer[Any]] = {
        name: inline_serializer(f"{_title(name)}Data", fields)
        for name, fields in _data(outcome).items()
    }
    events = [
        inline_serializer(
            f"{_title(name)}Event",
            {"id": CharField(help_text=_ID), "event": _one_of(name), "data": shape},
        )
        for name, shape in (data | {"done": outcome()}).items()
    ]
    return OpenApiResponse(
        PolymorphicProxySerializer(
            component_name="StreamEvent", serializers=events, resource_type_field_name=None
        ),
        description=_DESCRIPTION,
    )
