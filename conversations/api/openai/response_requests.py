"""The body of a request for a Response: what is read here is checked, the rest is passed on."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.api.fields import (
    ListField,
    ObjectField,
    StrictBooleanField,
    StrictCharField,
    StrictIntegerField,
    StrictNumberField,
    StrictSerializer,
    reader,
)
from conversations.api.openai.ids import uuid_in
from conversations.api.views import NOT_AN_OBJECT
from conversations.chat.responses.asked import Asked
from conversations.formats import DRAFT_FIELDS, Malformed, MessageDraft
from conversations.formats.response_items import message_fields
from conversations.services import InvalidValue, NotFound
from conversations.services.errors import NO_SUCH_CONVERSATION

NO_INPUT = "Required, unless `conversation` or `previous_response_id` is given."
NOT_INPUT = "Not a string, nor a list of items."
NOT_AN_ITEM = "Not an object."
NOT_A_CONVERSATION = "Not the id of a conversation, nor an object with one."
NOT_A_CHOICE = "Not a string, nor an object."

Json = dict[str, Any]


def _text(**options: Any) -> StrictCharField:
    return StrictCharField(required=False, allow_null=True, **options)


def _boolean() -> StrictBooleanField:
    return StrictBooleanField(required=False, allow_null=True)


def _object() -> ObjectField:
    return ObjectField(required=False, allow_null=True)


class _ToolsField(ListField):
    """A list of objects."""

    default_error_messages = {"not_an_object": NOT_AN_ITEM}

    def to_internal_value(self, data: Any) -> list[Any]:
        found = super().to_internal_value(data)
        for place, one in enumerate(found):
            if not isinstance(one, dict):
                raise ValidationError({str(place): [ErrorDetail(NOT_AN_ITEM, "not_an_object")]})
        return found


class ResponseRequestSerializer(StrictSerializer):
    """OpenAI's `POST /v1/responses`."""

    model = _text(max_length=255, help_text="`provider/model`, or a model of the default one.")
    input = serializers.JSONField(required=False, help_text="A text, or items.")
    instructions = _text()
    conversation = serializers.JSONField(required=False, help_text="Its id, or `{id}`.")
    previous_response_id = _text(max_length=255)
    store = _boolean()
    stream = _boolean()
    background = _boolean()
    tools = _ToolsField(required=False, allow_null=True)
    tool_choice = serializers.JSONField(required=False)
    parallel_tool_calls = _boolean()
    text = _object()
    reasoning = _object()
    metadata = _object()
    max_output_tokens = StrictIntegerField(
        required=False, allow_null=True, min_value=1, max_value=2**31 - 1
    )
    temperature = StrictNumberField(required=False, allow_null=True, min_value=0, max_value=2)
    top_p = StrictNumberField(required=False, allow_null=True, min_value=0, max_value=1)
    truncation = serializers.ChoiceField(
        required=False, allow_null=True, choices=["auto", "disabled"]
    )


def read_response_request(request: Request) -> Asked:
    """The request; ValidationError, InvalidValue or NotFound name what is wrong with it."""
    body = request.data
    if not isinstance(body, dict):
        raise ValidationError([ErrorDetail(NOT_AN_OBJECT, "not_an_object")])
    serializer = reader(ResponseRequestSerializer)
    serializer.run_validation({name: body[name] for name in body if name in serializer.fields})
    _check_choice(body.get("tool_choice"))
    items = _items(body)
    return Asked(
        body=body,
        items=items,
        drafts=[_draft(place, item, body) for place, item in enumerate(items)],
        conversation_id=_conversation_id(body.get("conversation")),
        previous_id=_previous_id(body),
    )


def field_of_request(field: str | None, body: Any) -> str | None:
    """The path in the request for that of a stored message: `messages.3.content`."""
    name, _, rest = (field or "").partition(".")
    if name != "messages":
        return field
    is_text = isinstance(body, dict) and isinstance(body.get("input"), str)
    return "input" if is_text else f"input.{rest}"


def _check_choice(choice: Any) -> None:
    if choice is not None and not isinstance(choice, str | dict):
        raise InvalidValue(NOT_A_CHOICE, field="tool_choice", code="invalid")


def _items(body: Mapping[str, Any]) -> list[Json]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if given is None:
        if body.get("conversation") or body.get("previous_response_id"):
            return []
        raise InvalidValue(NO_INPUT, field="input", code="required")
    if not isinstance(given, list):
        raise InvalidValue(NOT_INPUT, field="input", code="invalid")
    for place, item in enumerate(given):
        if not isinstance(item, dict):
            raise InvalidValue(NOT_AN_ITEM, field=f"input.{place}", code="invalid")
    return given


def _draft(place: int, item: Json, body: Mapping[str, Any]) -> MessageDraft:
    try:
        fields = message_fields(item)
    except Malformed as error:
        of_item = f"input.{place}.{error.field}" if error.field else f"input.{place}"
        path = "input" if isinstance(body.get("input"), str) else of_item
        raise InvalidValue(error.detail, field=path, code="invalid") from None
    return MessageDraft(**{name: fields[name] for name in DRAFT_FIELDS if name in fields})


def _conversation_id(given: Any) -> uuid.UUID | None:
    if given is None:
        return None
    named = given.get("id") if isinstance(given, dict) else given
    if not isinstance(named, str):
        raise InvalidValue(NOT_A_CONVERSATION, field="conversation", code="invalid")
    if found := uuid_in(named):
        return found
    raise NotFound(NO_SUCH_CONVERSATION, field="conversation")


def _previous_id(body: Mapping[str, Any]) -> uuid.UUID | None:
    """What is no id names nothing: it is looked for, and not found."""
    named = body.get("previous_response_id")
    return None if named is None else uuid_in(named) or uuid.UUID(int=0)
