"""Erasing a user: the account, and everything that they said or were told."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count, Q, Sum

from conversations.models import AccessAction, AccessContext, Conversation
from conversations.services.audit import record_access
from conversations.services.errors import NotAllowed, NotFound, OnLegalHold, ReasonRequired

NO_SUCH_USER = "No such user."
NOT_ONESELF = "Nobody erases their own account."
NOT_STAFF = "This account is staff: take that from it first, then erase it."
HELD = "{count:,} of this user's conversations are on legal hold: nothing is erased."


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a user has, and so what an erasure takes: `held` of the conversations are on hold."""

    conversations: int
    messages: int
    held: int


def holdings_of(user_id: int) -> Holdings:
    """Counted from the conversations alone, however many messages there are."""
    found = Conversation.objects.owned_by(user_id).aggregate(
        conversations=Count("pk"),
        messages=Sum("message_count"),
        held=Count("pk", filter=Q(legal_hold=True)),
    )
    return Holdings(**{name: count or 0 for name, count in found.items()})


def why_kept(user: User, access: AccessContext) -> str | None:
    """Why this account cannot be erased, whatever it holds."""
    if access.caller is not None and access.caller.owns(user.pk):
        return NOT_ONESELF
    return NOT_STAFF if user.is_staff or user.is_superuser else None


def erase_user(*, user_id: int, access: AccessContext) -> Holdings:
    """Delete the user with all conversations, messages, notes and tokens; what went.

    All or nothing: one conversation on legal hold keeps everything. The database deletes the
    conversations with the user's row; an AccessRecord without their words stays. Raises
    NotFound, NotAllowed, OnLegalHold, and ReasonRequired where a person gives no reason.
    """
    if access.caller is not None and not access.reason:
        raise ReasonRequired
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        _check(user, access)
        assert user is not None
        holdings = _locked_holdings(user_id)
        if holdings.held:
            raise OnLegalHold.told(HELD.format(count=holdings.held))
        record_access(
            access,
            AccessAction.DELETE,
            owner=user,
            detail={
                "erased": True,
                "conversations": holdings.conversations,
                "messages": holdings.messages,
            },
        )
        _lift_statement_timeout()
        user.delete()
    return holdings


def _lift_statement_timeout() -> None:
    """The database deletes all of somebody's messages in one statement, however many."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")


def _locked_holdings(user_id: int) -> Holdings:
    """Locked, so that no conversation is put on hold between this look and the end."""
    theirs = Conversation.objects.owned_by(user_id).order_by("pk").select_for_update()
    rows = theirs.values_list("message_count", "legal_hold")
    found = [(count, held) for count, held in rows.iterator(chunk_size=10_000)]
    return Holdings(len(found), sum(count for count, _ in found), sum(held for _, held in found))


def _check(user: User | None, access: AccessContext) -> None:
    if user is None:
        raise NotFound(NO_SUCH_USER)
    if reason := why_kept(user, access):
        raise NotAllowed(reason)
