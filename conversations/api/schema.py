"""How drf-spectacular describes this API: every operation with the errors it can answer."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from conversations.api.faces import CONVERSATIONS
from conversations.api.serializers import ErrorSerializer, ValidationErrorSerializer

MALFORMED = "Something is malformed, unknown or out of range; the body names it."
_ALWAYS = {
    401: "No valid token and no login session.",
    404: "It does not exist, or is not yours to see.",
    429: "Too many requests; see Retry-After.",
    500: "A defect of the server. The request id finds it in the log.",
    503: "The database cannot be reached; see Retry-After.",
}
_WRITES = {
    403: "You may see it and may not do this, or the CSRF token is missing.",
    409: "It contradicts what is stored.",
}
_BODIES = {
    413: "The body is too large.",
    415: "The body is not application/json.",
}
_UUIDS = {"conversation_id", "session_id", "message_id"}
_path_name = re.compile(r"{(\w+)}")


def without_trailing_slash(endpoints: list[Any]) -> list[Any]:
    """Paths as the documentation writes them; the slash at the end is optional."""
    return [(path.rstrip("/"), regex, method, view) for path, regex, method, view in endpoints]


class Schema(AutoSchema):
    """Adds errors and path parameters, which no view has to name."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            self._add_errors(operation["responses"])
        return operation

    def get_description(self) -> str:  # type: ignore[override]
        """Docstrings speak to developers of the server; `extend_schema` describes."""
        return ""

    def _is_list_view(self, serializer: Any = None) -> bool:
        """No answer is a bare array: a list is an object that holds one page."""
        return serializer is None and super()._is_list_view()  # type: ignore[no-untyped-call]

    def get_override_parameters(self) -> list[Any]:
        kinds = {
            name: OpenApiTypes.UUID if name in _UUIDS else OpenApiTypes.STR
            for name in _path_name.findall(self.path)
        }
        named = [OpenApiParameter(name, kind, "path") for name, kind in kinds.items()]
        return [*named, *super().get_override_parameters()]

    def _add_errors(self, responses: dict[str, Any]) -> None:
        face = getattr(self.view, "face", CONVERSATIONS)
        errors = dict(_ALWAYS) | (_WRITES if self.method != "GET" else {})
        if self.method in ("POST", "PATCH"):
            errors |= _BODIES
        problem = ErrorSerializer if face.errors == "standard" else ValidationErrorSerializer
        described = {400 if face.errors == "standard" else 422: (problem, MALFORMED)}
        described |= {status: (ErrorSerializer, text) for status, text in errors.items()}
        for status, (serializer, text) in sorted(described.items()):
            code = str(status)
            if code not in responses:
                answer = OpenApiResponse(serializer, description=text)
                responses[code] = self._get_response_for_code(answer, code)  # type: ignore[no-untyped-call]


class StrictBody(OpenApiSerializerExtension):
    """Says of a request body that it may hold no other fields."""

    target_class = "conversations.api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        shape = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**shape, "additionalProperties": False}


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "conversations.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "conversations.api.authentication.LoginAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
