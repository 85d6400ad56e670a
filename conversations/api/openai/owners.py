"""Whose conversation a request is about: who a trusted token says that it acts for.

For every other token the headers and fields are ignored: it acts for its own user.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import jwt
from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.request import Request

from conversations.api.views import decoded
from conversations.models import AccessAction, AccessContext
from conversations.services import (
    NotAllowed,
    NotFound,
    owner_of,
    owner_to_read,
    owner_to_write_for,
)
from conversations.services.errors import NO_SUCH_CONVERSATION
from conversations.services.users import note_person

HEADER = "X-User-Id"
# Of Open WebUI (ENABLE_FORWARD_USER_INFO_HEADERS): plain, or signed (HS256) with a secret.
JWT_HEADER = "X-OpenWebUI-User-Jwt"
PLAIN_HEADERS = {"id": "X-OpenWebUI-User-Id", "email": "X-OpenWebUI-User-Email"}
NAME_HEADER = "X-OpenWebUI-User-Name"  # percent-encoded
CLAIMS = {"id": "sub", "email": "email"}
# Of a request's body; the first is OpenAI's newer name for the second.
BODY_FIELDS = ("safety_identifier", "user")
# Seconds by which the clocks of the two servers may differ.
LEEWAY = 30

BAD_JWT = "Not signed with OPENWEBUI_JWT_SECRET, expired, or without the claim `{claim}`."
NO_SECRET = "This server cannot verify it: OPENWEBUI_JWT_SECRET is not set."
NOT_SIGNED = f"OPENWEBUI_JWT_SECRET is set: users are named in {JWT_HEADER}, signed with it."


def owner_named(
    request: Request, access: AccessContext, body: Mapping[str, Any] | None = None
) -> User | None:
    """The user for whom a trusted client writes, who is created where there is none of the name;
    None where nobody is named, or the token is not trusted: it writes for its own user.

    `body` is that of a request whose body may name the user. Raises InvalidValue, NotFound,
    NotAllowed.
    """
    field, name = _named(request, access, body)
    if name is None:
        return None
    owner = owner_to_write_for(access, name, field=field)
    if field == JWT_HEADER:
        claims = _claims_of(request.headers[JWT_HEADER].strip())
        note_person(owner, email=_text(claims.get("email")), name=_text(claims.get("name")))
    elif field in PLAIN_HEADERS.values():
        email = said_in_header(request, PLAIN_HEADERS["email"]) or ""
        note_person(owner, email=email, name=unquote(request.headers.get(NAME_HEADER, "")))
    return owner


def name_of_owner(
    request: Request, access: AccessContext, body: Mapping[str, Any] | None = None
) -> str | None:
    """The name by which a trusted client calls the user, within its namespace. Raises NotAllowed
    for one that is not signed as it should be."""
    return _named(request, access, body)[1]


def _named(
    request: Request, access: AccessContext, body: Mapping[str, Any] | None
) -> tuple[str, str | None]:
    """Where the request names the user, and the name."""
    caller = access.caller
    if caller is None or not caller.trusted:
        return HEADER, None
    if name := said_in_header(request, HEADER):
        return HEADER, name
    if found := _in_open_webui(request):
        return found
    for field in BODY_FIELDS:
        value = (body or {}).get(field)
        if isinstance(value, str) and (name := given(value)):
            return field, name
    return HEADER, None


def said_in_header(request: Request, name: str) -> str | None:
    return given(decoded(request.headers.get(name, "")))


def given(value: str) -> str | None:
    """The value, or None for one that a client has left empty, or whose template it has not filled:
    LibreChat then sends the template."""
    value = value.strip()
    return value if value and "{{" not in value else None


def _in_open_webui(request: Request) -> tuple[str, str] | None:
    kind = settings.OPENWEBUI_USER_BY
    if token := said_in_header(request, JWT_HEADER):
        return JWT_HEADER, _claim_of(token, CLAIMS[kind])
    name = said_in_header(request, PLAIN_HEADERS[kind])
    if name and settings.OPENWEBUI_JWT_SECRET:
        raise NotAllowed(NOT_SIGNED, field=PLAIN_HEADERS[kind])
    return (PLAIN_HEADERS[kind], name) if name else None


def _claim_of(token: str, claim: str) -> str:
    name = _text(_claims_of(token).get(claim))
    if not name:
        raise NotAllowed(BAD_JWT.format(claim=claim), field=JWT_HEADER)
    return name


def _claims_of(token: str) -> dict[str, Any]:
    """What a token says that is signed with the secret and has not expired."""
    secret = settings.OPENWEBUI_JWT_SECRET
    if not secret:
        raise NotAllowed(NO_SECRET, field=JWT_HEADER)
    options: Any = {"require": ["exp"], "verify_aud": False}
    try:
        return dict(jwt.decode(token, secret, algorithms=["HS256"], options=options, leeway=LEEWAY))
    except (jwt.InvalidTokenError, RecursionError):
        claim = CLAIMS[settings.OPENWEBUI_USER_BY]
        raise NotAllowed(BAD_JWT.format(claim=claim), field=JWT_HEADER) from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def check_owner(
    request: Request,
    access: AccessContext,
    conversation_id: uuid.UUID,
    *,
    text: str = NO_SUCH_CONVERSATION,
) -> None:
    """NotFound where the request names a user and the conversation is another one's. `text` is what
    is said of an id that is nobody's.

    An application sets the header once for each of its users: an id that one of them has from
    another must not lead anywhere.
    """
    field, name = _named(request, access, None)
    if name is None:
        return
    named = owner_to_read(access, name, field=field)
    if named != owner_of(access, conversation_id, action=AccessAction.READ):
        raise NotFound(text)
