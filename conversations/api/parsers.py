"""Request bodies: JSON (RFC 8259) of bounded size and depth, integers of any size exact."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from conversations.api.exceptions import ApiError

NOT_UTF8 = "The body must be JSON in UTF-8."
NOT_JSON = "The body is not JSON: {reason} (line {line}, column {column})."
TOO_DEEP = "Nested too deep."
LONG_NUMBER = "A number in the body has too many digits."
REPEATED_KEY = "This key is given twice in one object."
TOO_LARGE = "The body may be at most {limit:,} bytes."
NO_LENGTH = "Send the body with a Content-Length; a chunked body is not read."

MERGE_PATCH = "application/merge-patch+json"

_SCANNED_CHARS = 1_000_000
_token = re.compile(r'"((?:[^"\\]|\\.)*)"|[\[{]|[\]}]')


class StrictJSONParser(JSONParser):
    """Python's own reader, as it keeps integers of any size exact.

    NaN, NUL and lone surrogates pass here: the services refuse them and can name the field.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.CHAT_MAX_BODY_BYTES
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise payload_too_large()
        return loads(body)


class MergePatchParser(StrictJSONParser):
    """A JSON merge patch (RFC 7386), of which PATCH alone can make something."""

    media_type = MERGE_PATCH


def is_merge_patch(request: Request) -> bool:
    return media_type_of(request) == MERGE_PATCH


def media_type_of(request: Request) -> str:
    """The Content-Type without its parameters."""
    return request.content_type.partition(";")[0].strip().lower()


def payload_too_large() -> ApiError:
    return ApiError(413, TOO_LARGE.format(limit=settings.CHAT_MAX_BODY_BYTES), "too_large")


def loads(body: bytes) -> Any:
    """The value of a JSON document in UTF-8.

    Raises ParseError, which says where it is not one, and ApiError: with the top-level name under
    which it nests too deep, or the path (`messages.3.content`) of a key that one object has twice.
    Which of two values counts differs from reader to reader: a proxy that checks a body and this
    server could see two different requests.
    """
    try:
        text = body.decode("utf-8")
        return json.loads(text, object_pairs_hook=_object)
    except _Repeated:
        path = _path_of_repeated_key(text)
        raise ApiError(400, REPEATED_KEY, "repeated_key", field=path) from None
    except UnicodeDecodeError:
        raise ParseError(NOT_UTF8) from None
    except json.JSONDecodeError as error:
        raise ParseError(
            NOT_JSON.format(reason=error.msg, line=error.lineno, column=error.colno)
        ) from None
    except RecursionError:
        raise ApiError(400, TOO_DEEP, "too_deep", field=_field_that_nests(text)) from None
    except ValueError:  # Python reads integers of up to 4,300 digits
        raise ParseError(LONG_NUMBER) from None


def has_body(request: Request) -> bool:
    """Whether the client sent a body at all; `{}` is one."""
    meta = request.META
    if meta.get("CONTENT_LENGTH") not in (None, "", "0"):
        return True
    if "chunked" in meta.get("HTTP_TRANSFER_ENCODING", "").lower():
        raise ParseError(NO_LENGTH)
    return False


class _Repeated(Exception):
    """An object has a key twice; its path is not known yet."""


class _Pairs(list[tuple[str, Any]]):
    """The pairs of one object, repeated keys included."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


def _path_of_repeated_key(text: str) -> str | None:
    """Parses the document again, to name the path in the error."""
    try:
        names = _names_to_repeated_key(json.loads(text, object_pairs_hook=_Pairs))
    except (RecursionError, ValueError):  # what follows the key is no JSON, or nests too deep
        return None
    return ".".join(reversed(names))


def _names_to_repeated_key(value: list[Any]) -> list[str]:
    """The names that lead to the first one, innermost first; none where no key is repeated."""
    is_object = isinstance(value, _Pairs)
    keys: set[str] = set()
    for key, _ in value if is_object else ():
        if key in keys:
            return [key]
        keys.add(key)
    for name, item in value if is_object else enumerate(value):
        if item and isinstance(item, list) and (names := _names_to_repeated_key(item)):
            names.append(str(name))
            return names
    return []


def _field_that_nests(text: str) -> str | None:
    """The last key at the top level before the nesting exceeds CHAT_MAX_JSON_DEPTH."""
    depth, field = 0, None
    for token in _token.finditer(text, 0, _SCANNED_CHARS):
        if (name := token.group(1)) is not None:
            field = name if depth == 1 else field
        else:
            depth += 1 if token.group() in "[{" else -1
        if depth > settings.CHAT_MAX_JSON_DEPTH:
            return field
    return field
