"""The base class of the API's views, and how they read paths, parameters, headers and bodies."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import urlencode

from django.http import QueryDict
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from conversations.api.contracts import CONVERSATIONS, Contract
from conversations.api.errors import REASON_HEADER
from conversations.api.fields import StrictSerializer, reader, unknown_name
from conversations.api.filters import METADATA, holds_key
from conversations.api.parsers import MergePatchParser, is_merge_patch, media_type_of
from conversations.db import replicas
from conversations.models import AccessContext, Caller
from conversations.services.audit import MAX_REASON_CHARS, clean_reason

BAD_UUID = "Not a UUID."
BAD_NUMBER = "A whole number from {minimum} to {maximum}."
NOT_AN_OBJECT = "The body must be a JSON object."
BAD_KEY = "1 to 255 printable ASCII characters."
LONG_REASON = f"Longer than {MAX_REASON_CHARS} characters."
_NAME_LENGTH = 255


class JSONOnly(BaseContentNegotiation):
    """Responses are JSON whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        wanted = media_type_of(request)
        return next((parser for parser in parsers if parser.media_type == wanted), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class ApiViewSet(GenericViewSet[Any]):
    """Base of all viewsets. `query_names`: the query parameters of each action."""

    content_negotiation_class = JSONOnly
    query_names: ClassVar[dict[str, Collection[str]]] = {}
    # The actions that a throttle counts as another kind than `read` or `write`.
    throttle_kinds: ClassVar[dict[str, str]] = {}
    contract: ClassVar[Contract] = CONVERSATIONS
    # Whether staff may read or change other people's conversations here; their reason is a header.
    shows_others: ClassVar[bool] = True
    # The actions that may read on a replica, once a service has said whose data they read.
    read_on_replicas: ClassVar[Collection[str]] = ()
    access: AccessContext

    def get_parsers(self) -> list[Any]:
        """Every PATCH takes a JSON merge patch too."""
        merging = [MergePatchParser()] if self.request and self.request.method == "PATCH" else []
        return [*super().get_parsers(), *merging]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self._refuse_unknown_query(request)
        self.access = AccessContext(
            caller=self.caller,
            address=request.META.get("REMOTE_ADDR") or None,
            reason=reason_of(request),
        )
        if request.method in SAFE_METHODS and self.action in self.read_on_replicas:
            replicas.allow_reads()

    def _refuse_unknown_query(self, request: Request) -> None:
        if not self.action:
            return  # no such method here: 405, whatever the query string says
        known = self.query_names.get(self.action, ())
        given = {METADATA if holds_key(name) else name for name in request.GET}
        if unknown := sorted(given - set(known)):
            raise ValidationError(
                {
                    name: [ErrorDetail(unknown_name(name, list(known)), "unknown_parameter")]
                    for name in unknown[:10]
                }
            )

    @property
    def caller(self) -> Caller:
        return cast("Caller", self.request.auth)

    @property
    def conversation_id(self) -> uuid.UUID:
        """The conversation that the path names."""
        return uuid_of(self.kwargs[self.contract.id_name], self.contract.id_name)


def read_body(request: Request, serializer: type[StrictSerializer]) -> dict[str, Any]:
    """The validated body; ValidationError names the field that is wrong."""
    data = request.data
    if not isinstance(data, dict):
        raise ValidationError([ErrorDetail(NOT_AN_OBJECT, "not_an_object")])
    return dict(reader(serializer).run_validation(data))


def read_changes(
    request: Request, replacing: type[StrictSerializer], merging: type[StrictSerializer]
) -> dict[str, Any]:
    """The validated body of a PATCH as `changes`, and whether its metadata are to `merge`."""
    merge = is_merge_patch(request)
    return {"changes": read_body(request, merging if merge else replacing), "merge": merge}


T = TypeVar("T")


def query_string_of(query: QueryDict, names: list[str]) -> str:
    """These parameters of a query string, which are part of the scope of a list's cursors."""
    return urlencode([(name, value) for name in names for value in query.getlist(name)])


def choice_of(request: Request, name: str, choices: dict[str, T]) -> T:
    """The value for the query parameter `name`; that of the first choice without it."""
    text = request.query_params.get(name)
    if text is None:
        return next(iter(choices.values()))
    if text not in choices:
        names = ", ".join(f"`{choice}`" for choice in choices)
        raise ValidationError({name: [ErrorDetail(f"One of {names}.", "invalid_choice")]})
    return choices[text]


def whole_number_of(
    request: Request,
    name: str,
    *,
    default: int = 0,
    minimum: int = 0,
    maximum: int,
    problem: str | None = None,
) -> int:
    """The value of the query parameter `name`; `problem` says what is wrong with another one."""
    text = request.query_params.get(name)
    if text is None:
        return default
    return whole_number_in_path(text, name, minimum=minimum, maximum=maximum, problem=problem)


def whole_number_in_path(
    text: str, name: str, *, minimum: int = 0, maximum: int, problem: str | None = None
) -> int:
    """The number that a part of the path named `name` is."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
    if not (digits and minimum <= int(text) <= maximum):
        problem = problem or BAD_NUMBER.format(minimum=minimum, maximum=maximum)
        raise ValidationError({name: [ErrorDetail(problem, "invalid")]})
    return int(text)


def uuid_of(text: str, field: str) -> uuid.UUID:
    """The UUID in a path; ValidationError names the field."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ValidationError({field: [ErrorDetail(BAD_UUID, "invalid")]}) from None


def idempotency_key_of(request: Request) -> str | None:
    """The Idempotency-Key header, or None."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= _NAME_LENGTH and key.isascii() and key.isprintable()):
        raise ValidationError({"Idempotency-Key": [BAD_KEY]})
    return key


def reason_of(request: Request) -> str:
    """The Access-Reason header, decoded as UTF-8 where it is valid; "" without one."""
    header = request.headers.get(REASON_HEADER)
    if header is None:
        return ""
    text = decoded(header)
    if len(text) > MAX_REASON_CHARS:
        raise ValidationError({REASON_HEADER: [ErrorDetail(LONG_REASON, "max_length")]})
    return clean_reason(text)


def decoded(header: str) -> str:
    """The value of a header, decoded as UTF-8 where it is valid."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
