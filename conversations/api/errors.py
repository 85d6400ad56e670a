"""The one place where an exception becomes an HTTP response.

Every error body is `{"type", "errors": [{"code", "detail", "attr"}], "request_id"}`: the form
of drf-standardized-errors, with the request's id. Under /v1 it has OpenAI's form, whoever answers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http.client import responses
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import Error, ErrorResponse
from rest_framework import exceptions
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from conversations.api.error_pages import error_page, static_page
from conversations.api.exceptions import ApiError
from conversations.api.middleware import current_request_id
from conversations.api.openai.errors import (
    error_headers,
    error_response,
    errors_body,
    is_openai_path,
)
from conversations.api.parsers import payload_too_large
from conversations.api.throttles import kind_of
from conversations.chat.errors import NotConfigured
from conversations.services import (
    Conflict,
    Gone,
    InvalidValue,
    NotAllowed,
    NotFound,
    ReasonRequired,
    ServiceError,
    refusal_of,
)
from conversations.services.database_errors import (
    RETRY_SECONDS,
    UNREACHABLE,
    close_lost_connection,
    not_found_from,
    why_unavailable,
)

REASON_HEADER = "Access-Reason"
_HEADERS = ("Idempotency-Key", REASON_HEADER)
_SHOWN_CHARS = 300
UNAVAILABLE = "unavailable"
OUTCOME_UNKNOWN = (
    "Whether anything was stored is not known: the same request with its id or Idempotency-Key "
    "is safe to send again."
)
FORM_EXPIRED = (
    "Nothing was changed. You may have signed in again, or blocked cookies, since the page was "
    "opened: go back, reload it and send it again."
)
OUTCOME_OF_FORM_UNKNOWN = "It is unknown whether anything was stored: check before you retry."


_STATUSES: dict[type[ServiceError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    Conflict: 409,
    Gone: 410,
    NotConfigured: 503,
}


def to_api_exception(error: ServiceError) -> exceptions.APIException:
    """The HTTP response to a service's error."""
    if isinstance(error, InvalidValue):
        detail = exceptions.ErrorDetail(error.detail, error.code)
        return exceptions.ValidationError({error.field or "non_field_errors": [detail]})
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            field = REASON_HEADER if isinstance(error, ReasonRequired) else error.field
            return ApiError(status, error.detail, error.code, field=field, extra=error.stored)
    raise error


class ErrorHandler(ExceptionHandler):
    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if (refusal := refusal_of(exc)) is not None:
            return to_api_exception(refusal)
        if isinstance(exc, RequestDataTooBig):
            return payload_too_large()
        if reason := why_unavailable(exc):
            return self._unavailable(reason)
        if gone := not_found_from(exc):
            return to_api_exception(gone)
        return super().convert_known_exceptions(exc)

    def _unavailable(self, reason: str) -> ApiError:
        if reason == UNREACHABLE:
            close_lost_connection()
        kind = kind_of(cast("Request", self.context["request"]), self.context.get("view"))
        writes = kind in ("write", "chat")
        detail = f"{reason} {OUTCOME_UNKNOWN}" if writes else reason
        return ApiError(503, detail, UNAVAILABLE, retry_after=RETRY_SECONDS)

    def get_response(self, exc: exceptions.APIException, data: dict[str, Any]) -> Response:
        contract = getattr(self.context.get("view"), "contract", None)
        if exc.status_code == 400 and contract is not None and contract.errors == "422":
            request = cast("Request", self.context["request"])
            found = problems(data["errors"], request, self.context.get("kwargs") or {})
            return Response({"detail": found}, status=422)
        response = super().get_response(exc, data)
        if contract is not None and contract.errors == "openai":
            stored = getattr(exc, "extra", {})
            response.data = errors_body(exc.status_code, data["errors"], stored)
            for name, value in error_headers(exc.status_code).items():
                response.headers[name] = value
        return response


class ErrorFormatter(ExceptionFormatter):
    def get_errors(self) -> list[Error]:
        errors = super().get_errors()
        field = getattr(self.exc, "field", None)
        return [
            Error(error.code, _printable(error.detail), _name(field or error.attr))
            for error in errors
        ]

    def format_error_response(self, error_response: ErrorResponse) -> Any:
        body: dict[str, Any] = super().format_error_response(error_response)
        # A failed turn names what it stored.
        return body | {"request_id": current_request_id()} | getattr(self.exc, "extra", {})


def _name(attr: str | None) -> str | None:
    return None if attr is None else _printable(attr.removesuffix(".non_field_errors"))


def _printable(text: str) -> str:
    """Names come from the client: cut to a length, and without lone surrogates."""
    return text[:_SHOWN_CHARS].encode("utf-8", "backslashreplace").decode()


# The types that clients of the 422 form know; other codes stand as they are.
_PROBLEM_TYPES = {
    "required": "missing",
    "unknown_field": "extra_forbidden",
    "unknown_parameter": "extra_forbidden",
    "blank": "string_too_short",
    "max_length": "string_too_long",
    "invalid_choice": "enum",
    "parse_error": "json_invalid",
    "invalid": "value_error",
}


def problems(
    errors: list[dict[str, Any]], request: Request, path: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Errors in the 422 form: where (body, path, query, header), the text, and the type."""
    return [
        {
            "loc": _location(error["attr"], request, path),
            "msg": error["detail"],
            "type": _PROBLEM_TYPES.get(error["code"], error["code"]),
        }
        for error in errors
    ]


def _location(attr: str | None, request: Request, path: Mapping[str, str]) -> list[str | int]:
    if attr is None:
        return ["body"]
    names = [int(name) if name.isdecimal() else name for name in attr.split(".")]
    first = str(names[0])
    if first in path:
        return ["path", *names]
    if first in _HEADERS:
        return ["header", *names]
    return ["query" if first in request.query_params else "body", *names]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 for unknown paths: an error body in the API, a page elsewhere."""
    if _is_api(request.path):
        return _plain(request.path, "not_found", "No such route.", 404)
    return error_page(request, 404, "Page not found")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request.path):
        return _plain(request.path, "permission_denied", "You may not do this.", 403)
    return error_page(request, 403, "Permission denied")


def server_error(request: HttpRequest) -> HttpResponse:
    """What no view has handled: raised outside the API or in a middleware, or a defect."""
    error = sys.exc_info()[1]
    if reason := why_unavailable(error):
        return _unavailable(request, reason)
    if gone := not_found_from(error):
        return not_found(request, gone)
    if _is_api(request.path):
        return _plain(request.path, "error", "Server Error (500)", 500)
    return static_page(500, "Server error", "")


def _unavailable(request: HttpRequest, reason: str) -> HttpResponse:
    if reason == UNREACHABLE:
        close_lost_connection()
    of_api, writes = _is_api(request.path), request.method not in SAFE_METHODS
    outcome = OUTCOME_UNKNOWN if of_api else OUTCOME_OF_FORM_UNKNOWN
    detail = f"{reason} {outcome}" if writes else reason
    return refusal_for(request.path, UNAVAILABLE, detail, 503, retry_after=RETRY_SECONDS)


def refusal_for(
    path: str, code: str, detail: str, status: int, *, retry_after: int | None
) -> HttpResponse:
    """What is not the client's request's fault: an error body in the API, a page elsewhere."""
    response: HttpResponse
    if _is_api(path):
        response = _plain(path, code, detail, status)
    else:
        response = static_page(status, responses[status], detail)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 for what Django refuses before it calls a view, such as an unknown Host."""
    return _plain(request.path, "bad_request", "The request cannot be read.", 400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if not _is_api(request.path):
        return error_page(request, 403, "This form has expired", FORM_EXPIRED)
    return _plain(request.path, "permission_denied", f"CSRF check failed: {reason}", 403)


def _is_api(path: str) -> bool:
    return path.startswith("/api") or is_openai_path(path)


def _plain(path: str, code: str, detail: str, status: int) -> JsonResponse:
    if is_openai_path(path):
        return error_response(status, detail, code)
    kind = "server_error" if status >= 500 else "client_error"
    errors = [{"code": code, "detail": detail, "attr": None}]
    body = {"type": kind, "errors": errors, "request_id": current_request_id()}
    return JsonResponse(body, status=status)
