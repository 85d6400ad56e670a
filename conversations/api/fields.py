"""Serializer fields and a serializer base that do not convert values, and name what they refuse."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from conversations.formats import Malformed
from conversations.formats.checks import NOT_A_TIME, as_time_or_none
from conversations.models.user_names import LARGEST_EXACT_NUMBER, MAX_USERNAME_CHARS
from conversations.services.conversation_values import (
    EMPTY_EXTERNAL_ID,
    EMPTY_TITLE,
    MAX_TAG_CHARS,
    MAX_TAGS,
    MAX_TEXT_CHARS,
)
from conversations.services.drafts import COST_LIMIT

NOT_A_STRING = "Not a string."
NOT_A_NUMBER = "Not a whole number."
NOT_A_BOOLEAN = "Not true or false."
NOT_A_PARENT = "Not the id of a message (a UUID), nor `root`."
NULL_PARENT = "Leave it out to follow the message before, or send `root` to begin anew."
UNKNOWN_FIELD = "There is no such field."
NEAREST = "There is no such field. Did you mean `{nearest}`?"
READ_ONLY = "The server sets this field; a client may not."
_SHOWN_UNKNOWN = 10
# How clients name a user: by a name, or a number that is the name of its digits.
_NUMBER = {"type": "integer", "minimum": 0, "maximum": LARGEST_EXACT_NUMBER}
USER = {"oneOf": [_NUMBER, {"type": "string", "minLength": 1, "maxLength": MAX_USERNAME_CHARS}]}


def _whole(data: Any) -> Any:
    """JSON knows one kind of number: 5.0 is 5. A larger one than these is not exact."""
    exact = isinstance(data, float) and abs(data) <= LARGEST_EXACT_NUMBER and data.is_integer()
    return int(data) if exact else data


class _CheckSurrogates(ProhibitSurrogateCharactersValidator):
    """Looks for the character only in a text that has one: each is a call of Python."""

    def __call__(self, value: str) -> None:
        try:
            value.encode()
        except UnicodeEncodeError:
            super().__call__(value)


class StrictCharField(serializers.CharField):
    """A JSON string, not trimmed (the services do where that is the rule); never a number."""

    default_error_messages = {"invalid": NOT_A_STRING}

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "allow_blank": True} | options)
        others = [
            one for one in self.validators if type(one) is not ProhibitSurrogateCharactersValidator
        ]
        self.validators = [*others, _CheckSurrogates()]

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class StrictIntegerField(serializers.IntegerField):
    default_error_messages = {"invalid": NOT_A_NUMBER}

    def to_internal_value(self, data: Any) -> int:
        data = _whole(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictNumberField(serializers.FloatField):
    """A JSON number, never one in a string."""

    default_error_messages = {"invalid": NOT_A_NUMBER}

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    default_error_messages = {"invalid": NOT_A_BOOLEAN}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictUUIDField(serializers.UUIDField):
    """A UUID in text, with or without hyphens; never a number."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


@extend_schema_field({"oneOf": [{"type": "string", "format": "uuid"}, {"const": "root"}]})
class ParentField(StrictUUIDField):
    """The id of the message that a new one follows, or `root`."""

    default_error_messages = {"invalid": NOT_A_PARENT, "null": NULL_PARENT}

    def to_internal_value(self, data: Any) -> Any:
        return data if data == "root" else super().to_internal_value(data)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"})
class TitleField(StrictCharField):
    """Not empty; the services refuse what is empty once it is trimmed."""

    default_error_messages = {"blank": EMPTY_TITLE}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=False, max_length=255, **options)


@extend_schema_field(
    {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS, "pattern": r"\S"}
)
class ExternalIdField(StrictCharField):
    """What the application calls the conversation; null where it has no name for it."""

    default_error_messages = {"blank": EMPTY_EXTERNAL_ID}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=False, allow_null=True, max_length=MAX_TEXT_CHARS, **options)


@extend_schema_field({"oneOf": [{"const": 1}, {"const": -1}]})
class RatingField(StrictIntegerField):
    """1 is good, -1 bad, null not rated; the services check the value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)


class CountField(StrictIntegerField):
    """A number of tokens or milliseconds that fits the column; null where not known."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=2**31 - 1, allow_null=True, **options)


_AMOUNT = r"[0-9]{1,8}(\.[0-9]{1,30})?"


@extend_schema_field(OpenApiTypes.DATETIME)
class TimeField(serializers.Field[Any, Any, Any, Any]):
    """A date and time with an offset, as UTC."""

    default_error_messages = {"invalid": NOT_A_TIME}

    def to_internal_value(self, data: Any) -> datetime | None:
        try:
            return as_time_or_none("", data)
        except Malformed:
            self.fail("invalid")

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "pattern": f"^{_AMOUNT}$"},
            {"type": "number", "minimum": 0, "exclusiveMaximum": COST_LIMIT},
        ]
    }
)
class CostField(serializers.Field[Any, Any, Any, Any]):
    """An amount of money: a number, or one in a string, as responses have it; null where not known.
    The services check its range."""

    default_error_messages = {"invalid": "Not a number, nor one in a string."}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, **options)

    def to_internal_value(self, data: Any) -> Decimal:
        number = isinstance(data, int | float) and not isinstance(data, bool)
        if not number and not (isinstance(data, str) and re.fullmatch(_AMOUNT, data)):
            self.fail("invalid")
        return Decimal(str(data))

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(USER)
class UserIdField(serializers.Field[Any, Any, Any, Any]):
    """A user's name; a number is the name of its digits. Responses have canonical digits as a
    number, any other name as text."""

    default_error_messages = {"invalid": "Not a user's name: a text or a whole number."}

    def to_internal_value(self, data: Any) -> int | str:
        data = _whole(data)
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "array", "items": {}})
class ListField(serializers.Field[Any, Any, Any, Any]):
    """A JSON list of anything; the services check what is in it."""

    default_error_messages = {"not_a_list": "Not a list."}

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "type": "array",
        "maxItems": MAX_TAGS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TAG_CHARS, "pattern": r"\S"},
    }
)
class TagsField(ListField):
    """Short texts; the services check, trim and number them."""


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "object", "properties": {"function": {"type": "object"}}},
    }
)
class ToolCallsField(ListField):
    """Tool calls as OpenAI has them, or other objects; the services check their shape."""


@extend_schema_field(OpenApiTypes.OBJECT)
class ObjectField(serializers.Field[Any, Any, Any, Any]):
    """A JSON object; the services check what is in it."""

    default_error_messages = {"not_an_object": "Not an object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know, naming the nearest that it does.

    `read_only_names`: fields of the answer that a client may be tempted to send.
    """

    read_only_names: frozenset[str] = frozenset()
    # Names that are accepted although no field has them, for the nearest one to an unknown name.
    other_names: frozenset[str] = frozenset()

    @property
    def known_names(self) -> list[str]:
        """Among which the nearest to an unknown name is looked for."""
        return list(self.fields)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)  # refuses it
        if not (unknown := data.keys() - self.fields.keys()):
            return self._read(data)
        refusals: dict[str, Any] = dict(self._refusals(unknown))
        try:
            self._read({n: v for n, v in data.items() if n not in unknown})
        except serializers.ValidationError as error:
            if isinstance(error.detail, dict):
                refusals = {**error.detail, **refusals}
        raise serializers.ValidationError(refusals)

    def _read(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """What DRF does with its fields, past those that are neither given nor needed: a message
        has 25, of which most requests give two."""
        found: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for name, field in self.fields.items():
            if name not in data and not field.required and field.default is empty:
                continue
            try:
                found[name] = field.run_validation(data.get(name, empty))
            except serializers.ValidationError as error:
                errors[name] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return found

    def run_validators(self, value: Any) -> None:
        """None has any beyond those of its fields."""

    def _refusals(self, unknown: set[str]) -> dict[str, list[str]]:
        return {name: [self._refusal(name)] for name in sorted(unknown)[:_SHOWN_UNKNOWN]}

    def _refusal(self, name: str) -> str:
        if name in self.read_only_names:
            return serializers.ErrorDetail(READ_ONLY, "read_only")
        known = [*self.known_names, *sorted(self.other_names)]
        return serializers.ErrorDetail(unknown_name(name, known), "unknown_field")


def unknown_name(name: str, known: list[str]) -> str:
    """The error text for an unknown name, with the nearest known one."""
    nearest = difflib.get_close_matches(name[:100], known, n=1)
    return NEAREST.format(nearest=nearest[0]) if nearest else UNKNOWN_FIELD


S = TypeVar("S", bound=StrictSerializer)


@cache
def reader(serializer: type[S]) -> S:
    """One instance for all requests: its fields are built once and keep nothing of a request."""
    return serializer()
