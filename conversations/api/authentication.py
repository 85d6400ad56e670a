"""Authentication by an API token, by a ticket for one, or by the Django login session with CSRF.

A GET that runs a turn cannot carry a CSRF token: `refuse_cross_site` checks which site sent it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from conversations.db import replicas
from conversations.db.write_positions import required
from conversations.models import Caller
from conversations.selectors.token_holders import USER_COLUMNS, TokenHolder, find_token_holder
from conversations.services.database_errors import (
    UNREACHABLE,
    close_lost_connection,
    why_unavailable,
)
from conversations.services.tickets import use_ticket
from conversations.services.tokens import digest_of, mark_used

CROSS_SITE = "Only this site's own pages may ask for a logged-in user. Send a token instead."
BAD_HEADER = "Send one token: Authorization: Bearer <token>."
BAD_TOKEN = "The token is unknown, expired or revoked, or its user is not active."
BAD_TICKET = "The ticket is unknown, used, expired or for something else, or its token not valid."
_SCHEMES = (b"bearer", b"token")
_REALM = 'Bearer realm="api"'

# How exactly it is known when a token was last used.
_USE_NOTED_EVERY = timedelta(minutes=5)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` (or `Token <token>`); tokens are stored as digests."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        scheme, *rest = get_authorization_header(request).split() or [b""]
        if scheme.lower() not in _SCHEMES:
            return None
        if len(rest) != 1:
            raise AuthenticationFailed(BAD_HEADER)
        caller = caller_with_token(rest[0].decode("latin-1"))
        if caller is None:
            raise AuthenticationFailed(BAD_TOKEN)
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return _REALM


class TicketAuthentication(BaseAuthentication):
    """`?ticket=` on an event stream: the caller of the token that the ticket stands for, once."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        text = request.query_params.get("ticket")
        if text is None:
            return None
        view = request.parser_context["view"]
        digest = use_ticket(
            text, purpose=view.ticket_purposes[view.action], message_id=view.streamed_message
        )
        caller = None if digest is None else caller_with_digest(digest)
        if caller is None:
            raise AuthenticationFailed(BAD_TICKET)
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return _REALM


class LoginAuthentication(SessionAuthentication):
    """The Django login session; writes need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found = super().authenticate(request)
        return None if found is None else (found[0], Caller.of(found[0]))

    def authenticate_header(self, request: Request) -> str:
        return _REALM


def has_token(request: HttpRequest | Request) -> bool:
    """Whether `BearerAuthentication` decides who calls, before any other way is tried."""
    scheme = get_authorization_header(request).partition(b" ")[0]  # type: ignore[arg-type]
    return scheme.lower() in _SCHEMES


def caller_with_token(token: str) -> Caller | None:
    return caller_with_digest(digest_of(token))


def caller_with_digest(digest: str) -> Caller | None:
    """The caller that a valid token of this digest stands for. The rights are the token's own: a
    trusted one acts for an application's users and has no rights of staff."""
    found = _find(digest)
    if found is None:
        return None
    user: User = User.from_db(connection.alias, USER_COLUMNS, found.user)
    if replicas.are_configured():
        replicas.know(user.pk, required(found.wal_file, found.lsn, found.kept_lsn))
    now = timezone.now()
    if not user.is_active or (found.expires_at is not None and found.expires_at <= now):
        return None
    if found.last_used_at is None or found.last_used_at < now - _USE_NOTED_EVERY:
        mark_used(found.token_id, now)
    if found.trusted:
        return Caller(
            user=user,
            trusted=True,
            namespace=found.namespace,
            expires_at=found.expires_at,
            token_id=found.token_id,
        )
    reader = (
        user.is_staff
        and not found.delegated
        and (user.is_superuser or {"view_conversation", "view_message"} <= set(found.rights))
    )
    writer = reader and (user.is_superuser or "act_for_any_user" in found.rights)
    return Caller(
        user=user,
        namespace=found.namespace,
        reader=reader,
        writer=writer,
        delegated=found.delegated,
        expires_at=found.expires_at,
        token_id=found.token_id,
    )


def _find(digest: str) -> TokenHolder | None:
    """It is a request's first statement: on a connection that the database has closed meanwhile it
    opens a new one, which spares every request a test of its own."""
    connection.health_check_done = True  # type: ignore[attr-defined]
    with_position = replicas.are_configured()
    try:
        return find_token_holder(digest, with_position=with_position)
    except (DatabaseError, InterfaceError) as error:
        if connection.in_atomic_block or why_unavailable(error) != UNREACHABLE:
            raise
        close_lost_connection()
        return find_token_holder(digest, with_position=with_position)


def refuse_cross_site(request: Request) -> None:
    """PermissionDenied unless the browser itself says that a page of this site asks.

    Sec-Fetch-Site and Origin are set by the browser; no page can change them. `none` is an
    address that was typed or a link in a mail, a Referer can be left out by whoever links, and
    a request without any of them may come from a page that hides itself: they need a token.
    """
    if not _is_of_this_site(request):
        raise PermissionDenied(CROSS_SITE)


def _is_of_this_site(request: Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" and _is_a_script(request)
    # Browsers send no Sec-Fetch-Site over plain HTTP.
    return origin is not None and _origin_of(request) == origin


def _is_a_script(request: Request) -> bool:
    """Not a link or an image in a page of this site, which may show what strangers wrote."""
    return request.headers.get("Sec-Fetch-Dest", "empty") == "empty"


def _origin_of(request: Request) -> str:
    return f"{request.scheme}://{request.get_host()}"
