"""How drf-spectacular describes this API: every operation with the errors it can answer."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse

from conversations.api.serializers import ErrorSerializer

_READ_ERRORS = {
    400: "A parameter is malformed, unknown or out of range.",
    401: "No valid token and no login session.",
    404: "It does not exist, or is not yours to see.",
    429: "Too many requests; see Retry-After.",
    503: "The database cannot be reached; see Retry-After.",
}
_WRITE_ERRORS = {
    403: "You may see it and may not do this, or the CSRF token is missing.",
    409: "It contradicts what is stored.",
    413: "The body is too large.",
    415: "The body is not application/json.",
}


class Schema(AutoSchema):
    """Adds the errors, which no view has to name."""

    def get_response_serializers(self) -> Any:
        found = super().get_response_serializers()
        answers = found if isinstance(found, dict) else {200: found}
        errors = _READ_ERRORS | ({} if self.method == "GET" else _WRITE_ERRORS)
        return answers | {
            status: OpenApiResponse(ErrorSerializer, description=text)
            for status, text in sorted(errors.items())
            if status not in answers
        }


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "conversations.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "conversations.api.authentication.LoginAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
