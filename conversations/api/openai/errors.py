"""Errors as OpenAI's API answers them, which its SDKs raise as exceptions.

{"error": {"message", "type", "param", "code"}}, with the path of the value in `param`:
`items[0].type`. `api/errors.py` decides when a response has this form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import JsonResponse

PREFIX = "/v1"
# SDKs repeat requests that were refused with some statuses, unless this says "false".
NO_RETRY = "x-should-retry"

_INVALID, _RATE, _SERVER = "invalid_request_error", "rate_limit_error", "server_error"
# Codes that programs compare, where OpenAI's differ from this API's.
_CODES = {
    "required": "missing_required_parameter",
    "unknown_field": "unknown_parameter",
    "unknown_parameter": "unknown_parameter",
    "invalid_choice": "invalid_value",
    "invalid": "invalid_value",
    "throttled": "rate_limit_exceeded",
}
_CODE_OF = {401: "invalid_api_key", 404: None}


def is_openai_path(path: str) -> bool:
    """Whether errors of this path have this form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def error_body(
    status: int, message: str, code: str | None, param: str | None = None
) -> dict[str, Any]:
    """The body of a response with this status; `code` and `param` in this API's own words."""
    kind = _SERVER if status >= 500 else _RATE if status == 429 else _INVALID
    code = _CODE_OF[status] if status in _CODE_OF else _CODES.get(code or "", code)
    param = None if param is None else _indexed(param)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_headers(status: int) -> dict[str, str]:
    return {NO_RETRY: "false"} if status == 409 else {}


def errors_body(
    status: int, errors: Sequence[Mapping[str, Any]], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """The body for errors `{"code", "detail", "attr"}`: the first is what programs see, people
    read all. `stored` is what a refusal says of the stored state, beside the error."""
    first = errors[0]
    message = first["detail"]
    if len(errors) > 1:
        message = "; ".join(
            f"{_indexed(error['attr'])}: {error['detail']}" if error["attr"] else error["detail"]
            for error in errors
        )
    return {**stored, **error_body(status, message, first["code"], first["attr"])}


def error_response(status: int, message: str, code: str | None) -> JsonResponse:
    """A response that no view makes."""
    return JsonResponse(
        error_body(status, message, code), status=status, headers=error_headers(status)
    )


def _indexed(path: str) -> str:
    """`items[0].type` for `items.0.type`."""
    first, *others = path.split(".")
    return first + "".join(f"[{name}]" if name.isdecimal() else f".{name}" for name in others)
