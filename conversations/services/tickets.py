"""Create and use tickets for event streams, each of which is good once."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from conversations.models import AccessContext, StreamTicket, TicketPurpose
from conversations.services.errors import InvalidValue, NotAllowed
from conversations.services.tokens import TOKEN_BYTES, digest_of

LIFETIME = timedelta(seconds=60)
# At most this many expired tickets are removed when one is created.
_REMOVED_AT_ONCE = 100

NEEDS_TOKEN = "A ticket stands for a token: send one. A login session needs no ticket."
NOT_OF_ONE_ANSWER = "Only a ticket for a stream is for one answer."

# Those that another request is removing are left to it.
_REMOVE_EXPIRED = """
    DELETE FROM conversations_streamticket WHERE digest IN (
        SELECT digest FROM conversations_streamticket WHERE expires_at < %s
        LIMIT %s FOR UPDATE SKIP LOCKED)
"""
_USE = """
    DELETE FROM conversations_streamticket ticket USING conversations_apitoken token
    WHERE ticket.digest = %s AND token.id = ticket.token_id
    RETURNING token.digest, ticket.purpose, ticket.message_id, ticket.expires_at
"""


def create_ticket(
    *, purpose: str, message_id: uuid.UUID | None, access: AccessContext
) -> tuple[str, datetime]:
    """A ticket for the caller's token, which is not stored, and when it expires.

    Raises NotAllowed for a caller without a token, InvalidValue for a `message_id` where the
    purpose takes none.
    """
    if access.caller is None or access.caller.token_id is None:
        raise NotAllowed(NEEDS_TOKEN)
    if message_id is not None and purpose != TicketPurpose.STREAM:
        raise InvalidValue(NOT_OF_ONE_ANSWER, field="message_id", code="not_of_one_answer")
    _remove_expired()
    ticket = secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = timezone.now() + LIFETIME
    StreamTicket.objects.create(
        digest=digest_of(ticket),
        token_id=access.caller.token_id,
        purpose=purpose,
        message_id=message_id,
        expires_at=expires_at,
    )
    return ticket, expires_at


def use_ticket(text: str, *, purpose: str, message_id: uuid.UUID | None) -> str | None:
    """The digest of the token that a ticket stands for; None if it is not good for this.

    It is used up in either case: of requests at the same moment, on whichever machines, the
    database gives its row to one.
    """
    with connection.cursor() as cursor:
        cursor.execute(_USE, [digest_of(text)])
        row = cursor.fetchone()
    if row is None:
        return None
    token_digest, for_purpose, for_message, expires_at = row
    good = for_purpose == purpose and for_message in (None, message_id)
    return token_digest if good and expires_at > timezone.now() else None


def _remove_expired() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_REMOVE_EXPIRED, [timezone.now(), _REMOVED_AT_ONCE])
