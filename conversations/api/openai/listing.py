"""Lists as OpenAI's API has them: `after`, `limit` and `order`, and the shape of a page."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from conversations.api.views import choice_of
from conversations.db.bulk_rows import Row

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
NOT_A_LIMIT = "Not a whole number."
NOT_INCLUDABLE = "Not a value of `include`."
NAMES = ("after", "limit", "order")
INCLUDE = ("include", "include[]")
# What OpenAI leaves out of items unless it is asked for. Here all of an item is always there.
INCLUDABLE = (
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("message.input_image.image_url", "computer_call_output.output.image_url"),
    *("code_interpreter_call.outputs", "reasoning.encrypted_content"),
    "message.output_text.logprobs",
)


def limit_of(request: Request) -> int:
    """The nearest number from 1 to MAX_LIMIT."""
    text = request.query_params.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 40):
        raise ValidationError({"limit": [ErrorDetail(NOT_A_LIMIT, "invalid")]})
    return max(1, min(int(text), MAX_LIMIT))


def after_of(request: Request) -> str | None:
    """The id that the page begins after."""
    return request.query_params.get("after") or None


def is_descending(request: Request) -> bool:
    return choice_of(request, "order", {"desc": True, "asc": False})


def check_include(request: Request) -> None:
    """Raise ValidationError for a value that OpenAI does not know either."""
    asked = [value for name in INCLUDE for value in request.query_params.getlist(name)]
    if set(asked) - set(INCLUDABLE):
        raise ValidationError({"include": [ErrorDetail(NOT_INCLUDABLE, "invalid_choice")]})


def page(rows: list[Row], *, has_more: bool) -> dict[str, Any]:
    """The ids of an empty page are empty: SDKs take no null."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else "",
        "last_id": rows[-1]["id"] if rows else "",
        "has_more": has_more,
    }
