"""How the OpenAPI schema describes the messages of requests: ours precisely, those of SDKs as far
as this API looks at them. Their own documentation says the rest."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent

from conversations.formats.content_parts import TEXT_TYPES
from conversations.formats.message_reader import OWN_FIELDS
from conversations.formats.sdk_keys import ITEM_TYPES, KNOWN_KEYS, LANGCHAIN_ROLES

_Shape = dict[str, Any]


def _object(optional: _Shape | None = None, /, **properties: _Shape) -> _Shape:
    """An object that has these keys, and may have any other."""
    return {
        "type": "object",
        "properties": properties | (optional or {}),
        "required": list(properties),
        "additionalProperties": {},
    }


_TEXT_PART = _object(type={"type": "string", "enum": sorted(TEXT_TYPES)}, text={"type": "string"})
_OTHER_PART = _object(type={"type": "string", "not": {"enum": sorted(TEXT_TYPES)}})
_PART: _Shape = {
    "description": "A part of the content: of any type, kept as it is; LangChain has strings too.",
    "anyOf": [_TEXT_PART, _OTHER_PART, {"type": "string"}],
}
_CONTENT: _Shape = {
    "anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": _PART}, {}],
}
_ANYTHING = _object()
_ROLES = ["user", "assistant", "system", "developer", "tool", "function"]
_CLASSES = [name + "Chunk" for name in LANGCHAIN_ROLES if name.endswith("Message")]
_TYPES = [name for name in LANGCHAIN_ROLES if not name.endswith("Message")] + _CLASSES

# Whatever stands beside `anyOf` is another alternative to generators of types: only these do not.
_MESSAGE: _Shape = {
    "description": (
        "A message as the OpenAI, Anthropic, LangChain or litellm SDK dumps it, beside fields of "
        "this API. `content` may be null or a list of parts, and for a tool any JSON; parts are "
        "kept in `parts`. What has no field of the same name is kept in `extra`."
    ),
    "propertyNames": {"enum": sorted({*OWN_FIELDS, *KNOWN_KEYS})},
    "anyOf": [
        _object({"content": _CONTENT}, role={"type": "string", "enum": _ROLES}),
        _object(type={"type": "string", "enum": _TYPES}, content=_CONTENT),
        _object(type={"type": "string"}, data=_ANYTHING),
        _object(lc={"const": 1}, kwargs=_ANYTHING),
    ],
}
_ITEM: _Shape = {
    "description": (
        "An item of OpenAI's Responses API or of the Agents SDK, other than a message. A call of "
        "a function becomes `tool_calls`, its result a message of the role `tool`; any other item "
        "is the one part of its message."
    ),
    **_object(type={"type": "string", "enum": sorted(ITEM_TYPES)}),
}
_ANSWER: _Shape = {
    "description": "What a model answered, whole: a ChatCompletion of one choice, or a Response.",
    "anyOf": [
        _object(choices={"type": "array", "minItems": 1, "maxItems": 1}),
        _object(object={"const": "response"}, output={"type": "array"}),
    ],
}
_SHAPES = {"SdkMessage": _MESSAGE, "SdkItem": _ITEM, "SdkAnswer": _ANSWER}


class MessageBody(OpenApiSerializerExtension):
    """A message in our form, or in that of an SDK."""

    target_class = "conversations.api.serializers.NewMessageSerializer"
    match_subclasses = True
    priority = 1

    def map_serializer(self, auto_schema: Any, direction: Any) -> _Shape:
        ours = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        description = ours.pop("description", "")
        others = [_reference(auto_schema.registry, name, shape) for name, shape in _SHAPES.items()]
        return {
            "description": description,
            "anyOf": [{**ours, "additionalProperties": False}, *others],
        }


def _reference(registry: Any, name: str, shape: _Shape) -> dict[str, str]:
    # A copy: drf-spectacular moves the lists of choices out of it.
    schema = deepcopy(shape)
    component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=schema, object=name)
    registry.register_on_missing(component)
    return dict(component.ref)
