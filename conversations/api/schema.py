"""How drf-spectacular describes this API: every operation with the errors it can answer."""

from __future__ import annotations

import re
from typing import Any

from django_filters.rest_framework.backends import DjangoFilterBackend
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from conversations.api import message_shapes, parameters
from conversations.api.answer_shapes import AnswerWriteSerializer
from conversations.api.contracts import CONVERSATIONS, Contract
from conversations.api.examples import example_of_error, examples_of
from conversations.api.openai.shapes import OpenAIErrorSerializer
from conversations.api.serializers import (
    ErrorSerializer,
    ValidationErrorSerializer,
)

MALFORMED = "Something is malformed, unknown or out of range; the body names it."
_ALWAYS = {
    401: "No valid token and no login session.",
    404: "It does not exist, or the caller may not see it.",
    429: "Too many requests; see Retry-After.",
    500: "Internal server error. The request id identifies it in the log.",
    503: "The database cannot serve now; see Retry-After. Whether a write was stored is not known.",
}
_REFUSALS = {
    403: "You may see it and may not do this, the CSRF token is missing, or staff gave no reason."
}
_WRITES = {
    409: "It contradicts what is stored.",
}
_BODIES = {
    413: "The body is too large.",
    415: "The body is of another type than this operation takes.",
}
_DONE = {"200": "Done.", "201": "Created."}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "Finds the request in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}
# drf-spectacular finds the extensions that are imported.
EXTENSIONS = (message_shapes.MessageBody,)

_HEADERS_OF = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
# The status of a malformed request, its shape, and that of all other errors, by contract.
_ERROR_SHAPES = {
    "standard": (400, ErrorSerializer, ErrorSerializer),
    "422": (422, ValidationErrorSerializer, ErrorSerializer),
    "openai": (400, OpenAIErrorSerializer, OpenAIErrorSerializer),
}
_FORMS = {OpenAIErrorSerializer: "OpenAI"}
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
            self._describe_answers(operation["responses"])
            if "requestBody" in operation and _one_of(self.get_request_serializer()):
                operation["requestBody"]["required"] = True
        return operation

    def get_description(self) -> str:  # type: ignore[override]
        """Docstrings speak to developers of the server; `extend_schema` describes."""
        return ""

    def get_examples(self) -> list[OpenApiExample]:
        return examples_of(self.get_operation_id())

    def _is_list_view(self, serializer: Any = None) -> bool:
        """No answer is a bare array: a list is an object that holds one page."""
        return serializer is None and super()._is_list_view()

    def get_filter_backends(self) -> list[Any]:
        """Views narrow their lists themselves, by the filterset that they name here."""
        is_list = getattr(self.view, "action", None) == "list"
        return [DjangoFilterBackend] if is_list and hasattr(self.view, "filterset_class") else []

    def get_override_parameters(self) -> list[Any]:
        uuids = frozenset() if self._contract.errors == "openai" else _UUIDS
        kinds = {
            name: OpenApiTypes.UUID if name in uuids else OpenApiTypes.STR
            for name in _path_name.findall(self.path)
        }
        named = [OpenApiParameter(name, kind, "path") for name, kind in kinds.items()]
        if self._shows_others:
            named.append(parameters.ACCESS_REASON)
        return [*named, *super().get_override_parameters()]

    @property
    def _shows_others(self) -> bool:
        """Whether staff may see other people's conversations by this operation."""
        return self.method == "GET" and getattr(self.view, "shows_others", False)

    @property
    def _contract(self) -> Contract:
        return getattr(self.view, "contract", CONVERSATIONS)

    def _describe_answers(self, responses: dict[str, Any]) -> None:
        errors = dict(_ALWAYS) | (_WRITES if self.method != "GET" else {})
        if self.method != "GET" or self._shows_others:
            errors |= _REFUSALS
        if self.method in ("POST", "PATCH"):
            errors |= _BODIES
        status, problem, other = _ERROR_SHAPES[self._contract.errors]
        described = {status: (problem, MALFORMED)}
        described |= {status: (other, text) for status, text in errors.items()}
        for code, answer in responses.items():
            answer["description"] = answer["description"] or _DONE[code]
            answer["headers"] = self._headers(("X-Request-ID",))
        for status, (serializer, text) in sorted(described.items()):
            responses.setdefault(str(status), self._error(status, serializer, text))

    def _error(self, status: int, serializer: Any, text: str) -> dict[str, str]:
        """A reference to the answer that all operations share for a status."""
        form = _FORMS.get(serializer, "")
        examples = [] if form else example_of_error(status)
        answer = OpenApiResponse(serializer, description=text, examples=examples)
        code = str(status)
        described = self._get_response_for_code(answer, code)  # type: ignore[no-untyped-call]
        described["headers"] = self._headers(("X-Request-ID", *_HEADERS_OF.get(status, ())))
        return self._component(f"{form}Error{code}", ResolvedComponent.RESPONSE, described)

    def _headers(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {
            name: self._component(name, ResolvedComponent.HEADER, _HEADERS[name]) for name in names
        }

    def _component(self, name: str, kind: str, shape: dict[str, Any]) -> dict[str, str]:
        component = ResolvedComponent(name, kind, schema=shape, object=name)
        self.registry.register_on_missing(component)
        return dict(component.ref)


class StrictBody(OpenApiSerializerExtension):
    """Says of a request body that it may hold no other fields."""

    target_class = "conversations.api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        shape = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        # Of two shapes without a required field, `{}` is one.
        least: dict[str, Any] = {}
        if isinstance(self.target, AnswerWriteSerializer):
            least = {"minProperties": 1}
        elif names := _one_of(self.target):
            least = {"oneOf": [{"required": [name]} for name in names]}
        return {**shape, **least, "additionalProperties": False}


def _one_of(body: Any) -> tuple[str, ...]:
    """The fields of a request of which exactly one is required, where there are such."""
    return getattr(body, "exactly_one", ())


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "conversations.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class TicketScheme(OpenApiAuthenticationExtension):
    target_class = "conversations.api.authentication.TicketAuthentication"
    name = "ticket"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "query", "name": "ticket"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = "conversations.api.authentication.LoginAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
