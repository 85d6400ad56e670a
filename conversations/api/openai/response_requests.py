"""The body of a request for a Response: what is read here is checked, the rest is passed on."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
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
from conversations.api.openai.item_pages import NO_SUCH_ITEM, FoundItem, ItemPages, items_of_owner
from conversations.api.openai.items import NewItem
from conversations.api.openai.owners import owner_named
from conversations.api.openai.recorded_chat import chat_named
from conversations.api.openai.shapes import NewItemField
from conversations.api.views import NOT_AN_OBJECT
from conversations.chat.responses.asked import Asked
from conversations.chat.responses.history import for_responses
from conversations.chat.responses.respond import Followed, path_followed
from conversations.formats import MessageDraft
from conversations.formats.item_types import Item
from conversations.formats.response_items import MESSAGE_KEYS, message_fields, path_in_item
from conversations.models import AccessContext
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


class InputField(serializers.ListField):
    """A text, or items: what each is to be stored as, or the id of the item that it refers to."""

    child = NewItemField()
    default_error_messages = {"not_a_list": NOT_INPUT}

    def to_internal_value(self, data: Any) -> list[NewItem]:
        if not isinstance(data, str):
            return super().to_internal_value(data)
        return [MessageDraft(**message_fields(_message(data)))]


def _message(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


class ResponseRequestSerializer(StrictSerializer):
    """OpenAI's `POST /v1/responses`."""

    model = _text(max_length=255, help_text="`provider/model`, or a model of the default one.")
    input = InputField(required=False, allow_null=True, help_text="A text, or items.")
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


def read_response_request(request: Request, access: AccessContext) -> Asked:
    """The request; ValidationError, InvalidValue or NotFound name what is wrong with it."""
    body = request.data
    if not isinstance(body, dict):
        raise ValidationError([ErrorDetail(NOT_AN_OBJECT, "not_an_object")])
    serializer = reader(ResponseRequestSerializer)
    known = {name: body[name] for name in body if name in serializer.fields}
    given: list[NewItem] | None = serializer.run_validation(known).get("input")
    _check_choice(body.get("tool_choice"))
    conversation_id, previous_id = _conversation_id(body.get("conversation")), _previous_id(body)
    if given is None and conversation_id is None and previous_id is None:
        raise InvalidValue(NO_INPUT, field="input", code="required")
    asked = Asked(body=body, conversation_id=conversation_id, previous_id=previous_id)
    sent = [] if body.get("input") is None else body["input"]
    items = [_message(sent)] if isinstance(sent, str) else sent
    if any(isinstance(new, str) for new in given or ()):
        owner, chat = owner_named(request, access, body), chat_named(request, body)
        followed = path_followed(access, asked, owner, chat)
        items, drafts = _resolved(followed, items, given or [])
    else:
        drafts = [new for new in given or () if isinstance(new, MessageDraft)]
    return replace(asked, items=items, drafts=drafts)


def _resolved(
    followed: Followed, items: list[Item], given: list[NewItem]
) -> tuple[list[Item], list[MessageDraft]]:
    """The items without references: what they refer to is in the conversation already, and where it
    is not on the path that is followed it is repeated. Raises NotFound."""
    shown, stored = [], []
    referred = _referred(followed, given)
    for place, (item, new) in enumerate(zip(items, given, strict=True)):
        if isinstance(new, MessageDraft):
            shown.append(item)
            stored.append(new)
        elif not followed.has(referred[place].message_id):
            found = referred[place].item
            shown += for_responses([found])
            stored.append(MessageDraft(**message_fields(_as_sent(found))))
    return shown, stored


def _referred(followed: Followed, given: list[NewItem]) -> dict[int, FoundItem]:
    """The items that references mean, by the places of those. Who follows no conversation means
    items of any of the owner's: the AI SDK sends its history with the answers as references."""
    places = {place: new for place, new in enumerate(given) if isinstance(new, str)}
    if followed.conversation_id is not None:
        pages = ItemPages(followed.owner_id, followed.conversation_id)
        return {place: pages.find(id_, field=f"input.{place}.id") for place, id_ in places.items()}
    found = items_of_owner(followed.owner_id, places.values())
    for place, id_ in places.items():
        if id_ not in found:
            raise NotFound(NO_SUCH_ITEM, field=f"input.{place}.id")
    return {place: found[id_] for place, id_ in places.items()}


def _as_sent(item: Item) -> Item:
    if item["type"] != "message":
        return item
    return {name: value for name, value in item.items() if name in MESSAGE_KEYS}


def field_of_input(field: str | None, asked: Asked) -> str | None:
    """Where the request has what is at this path in the messages to be stored."""
    name, _, path = (field or "").partition(".")
    if name != "messages":
        return field
    number, _, path = path.partition(".")
    joined = len(asked.messages) != len(asked.drafts)
    if joined or isinstance(asked.body.get("input"), str) or not number.isdecimal():
        return "input"
    return f"input.{number}.{path_in_item(asked.drafts[int(number)], path)}".removesuffix(".")


def _check_choice(choice: Any) -> None:
    if choice is not None and not isinstance(choice, str | dict):
        raise InvalidValue(NOT_A_CHOICE, field="tool_choice", code="invalid")


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
