"""Requests and responses of `/v1/conversations`, and how the OpenAPI page describes them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema_field, inline_serializer
from rest_framework import serializers

from conversations.api.fields import USER, ObjectField, StrictSerializer, UserIdField
from conversations.api.openai.listing import DEFAULT_LIMIT, INCLUDABLE, MAX_LIMIT
from conversations.api.openai.owners import HEADER
from conversations.formats import Malformed
from conversations.formats.checks import MISSING
from conversations.formats.item_types import HELD_TYPES
from conversations.formats.response_items import REFERENCE, is_reference, message_fields
from conversations.services import MessageDraft

MAX_ITEMS = 20
TOO_MANY = f"At most {MAX_ITEMS} items in one request."
NO_ITEMS = "At least one item is required."
NOT_A_LIST = "Not a list."
NOT_AN_ITEM = "Not an object."

_ITEM_TYPES = ["message", *sorted(HELD_TYPES)]
_ITEM = {
    "type": "object",
    "description": (
        "An item of OpenAI's Conversations API, whose documentation says what each type holds."
    ),
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": _ITEM_TYPES},
    },
    "required": ["id", "type"],
    "additionalProperties": {},
}
_NEW_ITEM = {
    "type": "object",
    "description": (
        "An item of OpenAI's Conversations API: a message (of which `type` may be left out), any "
        "other item, or the reference to one of this conversation. An `id` is no identity; it is "
        "kept for all items but messages."
    ),
    "properties": {"type": {"type": "string", "enum": [*_ITEM_TYPES, REFERENCE]}},
    "additionalProperties": {},
}


class OpenAIItemSerializer(serializers.Serializer[Any]):
    """An item in a response; `items_of` makes it."""


class ItemShape(OpenApiSerializerExtension):
    target_class = OpenAIItemSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return deepcopy(_ITEM)  # drf-spectacular moves lists of choices out of it


@extend_schema_field(_NEW_ITEM)
class NewItemField(serializers.Field[Any, Any, Any, Any]):
    """The message that an item is stored as, or the id of the item that it refers to."""

    def to_internal_value(self, data: Any) -> MessageDraft | str:
        if not isinstance(data, dict):
            raise serializers.ValidationError(NOT_AN_ITEM, "not_an_object")
        try:
            if is_reference(data):
                return _id_of_reference(data)
            return MessageDraft(**message_fields(data))
        except Malformed as error:
            code = "required" if error.detail == MISSING else "invalid"
            detail = serializers.ErrorDetail(error.detail, code)
            path = error.field or "non_field_errors"
            raise serializers.ValidationError({path: [detail]}) from None


def _id_of_reference(item: dict[str, Any]) -> str:
    if not isinstance(item.get("id"), str):
        raise Malformed("id", MISSING if item.get("id") is None else "Not a string.")
    return str(item["id"])


class NewItemsField(serializers.ListField):
    """Items in the order in which they are to be stored."""

    child = NewItemField()
    default_error_messages = {
        "not_a_list": NOT_A_LIST,
        "max_length": TOO_MANY,
        "empty": NO_ITEMS,
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_ITEMS, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and len(data) > MAX_ITEMS:
            self.fail("max_length")  # before any of them is read
        return super().to_internal_value(data)


class NewOpenAIConversationSerializer(StrictSerializer):
    """A new conversation, `{}` included."""

    items = NewItemsField(required=False, allow_null=True)
    metadata = ObjectField(
        required=False, allow_null=True, help_text="An object of any JSON; null is none."
    )


class OpenAIConversationChangesSerializer(StrictSerializer):
    """What an update replaces."""

    metadata = ObjectField(allow_null=True, help_text="Replaces what is stored; null leaves none.")


class NewOpenAIItemsSerializer(StrictSerializer):
    """Items to add, in order."""

    items = NewItemsField(allow_empty=False)


class OpenAIConversationSerializer(serializers.Serializer[Any]):
    """A conversation as OpenAI has it, and what else this API knows of it."""

    id = serializers.CharField(help_text="`conv_` and the 32 digits of the id under /api.")
    object = serializers.CharField(help_text="`conversation`")
    created_at = serializers.IntegerField(help_text="Seconds since 1970.")
    metadata = ObjectField()
    title = serializers.CharField()
    user_id = UserIdField()
    message_count = serializers.IntegerField(help_text="Messages on all branches.")
    updated_at = serializers.IntegerField(help_text="Seconds since 1970.")


class OpenAIErrorSerializer(serializers.Serializer[Any]):
    error = inline_serializer(
        "OpenAIErrorDetail",
        {
            "message": serializers.CharField(),
            "type": serializers.CharField(),
            "param": serializers.CharField(
                allow_null=True, help_text="The path of what is wrong: `items[0].type`."
            ),
            "code": serializers.CharField(allow_null=True),
        },
    )


def list_of(name: str, row: Any) -> Any:
    """The shape of a page of these."""
    return inline_serializer(
        name,
        {
            "object": serializers.CharField(help_text="`list`"),
            "data": row,
            "first_id": serializers.CharField(allow_blank=True),
            "last_id": serializers.CharField(allow_blank=True),
            "has_more": serializers.BooleanField(),
        },
    )


CONVERSATION_LIST = list_of("OpenAIConversationList", OpenAIConversationSerializer(many=True))
ITEM_LIST = list_of("OpenAIItemList", OpenAIItemSerializer(many=True))
DELETED = inline_serializer(
    "OpenAIConversationDeleted",
    {
        "id": serializers.CharField(),
        "object": serializers.CharField(help_text="`conversation.deleted`"),
        "deleted": serializers.BooleanField(),
    },
)

OWNER_HEADER = OpenApiParameter(
    HEADER,
    # No limit of length: for other tokens the header may hold anything.
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description=(
        "The user for whom a trusted client acts; only conversations of that user are found then. "
        "Other tokens act for their own user, and the header is ignored."
    ),
)
USER_ID = OpenApiParameter(
    "user_id",
    USER,
    description=(
        "The owner's name, as the caller knows it; without it that of the header, or the caller. "
        "Another user requires a trusted client or staff."
    ),
)
LISTING = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "default": DEFAULT_LIMIT},
        description=f"What is less than 1 is 1, what is more than {MAX_LIMIT} is {MAX_LIMIT}.",
    ),
    OpenApiParameter("order", {"type": "string", "enum": ["desc", "asc"], "default": "desc"}),
]
AFTER = OpenApiParameter("after", OpenApiTypes.STR, description="`last_id` of the page before.")
_VALUES = {"type": "array", "items": {"type": "string", "enum": list(INCLUDABLE)}}
INCLUDE = OpenApiParameter(
    "include",
    _VALUES,
    explode=True,
    description=(
        "Checked and otherwise ignored: all that an item holds is always there. `include[]` is "
        "the same."
    ),
)
