"""Erase a user: the account and all data of its conversations."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count, Q, Sum

from conversations.models import AccessAction, AccessContext, Conversation, ImportRun
from conversations.services.audit import note_write, record_access
from conversations.services.changes import forget_changes_of
from conversations.services.errors import NotAllowed, NotFound, OnLegalHold, ReasonRequired

NO_SUCH_USER = "No such user."
NOT_ONESELF = "You cannot erase your own account."
NOT_STAFF = "This is a staff account. Remove its staff and superuser status before you erase it."
HELD = "Nothing was erased: {count:,} of this user's conversations are on legal hold."


def count_user_data(user_id: int) -> dict[str, int]:
    """What an erasure deletes: `conversations`, their `messages`, and how many of the
    conversations are on legal hold (`held`). Reads no messages."""
    return Conversation.objects.owned_by(user_id).aggregate(
        conversations=Count("pk"),
        messages=Sum("message_count", default=0),
        held=Count("pk", filter=Q(legal_hold=True)),
    )


def why_not_erasable(user: User, access: AccessContext) -> str | None:
    """The reason why this account cannot be erased, whatever its data; None if it can."""
    if access.caller is not None and access.caller.owns(user.pk):
        return NOT_ONESELF
    return NOT_STAFF if user.is_staff or user.is_superuser else None


def erase_user(*, user_id: int, access: AccessContext) -> dict[str, int]:
    """Delete the user with all conversations, messages, notes, reviews and tokens.

    Returns the counts of `count_user_data`. All or nothing: nothing is deleted if a conversation
    is on legal hold. The database cascades from the user's row. What remains is an AccessRecord
    with the counts, and in the feed of changes the ids of the deleted conversations. Raises
    NotFound, NotAllowed, OnLegalHold, and ReasonRequired for a caller without a reason.
    """
    if access.caller is not None and not access.reason:
        raise ReasonRequired
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=user_id).first()
        if user is None:
            raise NotFound(NO_SUCH_USER)
        if reason := why_not_erasable(user, access):
            raise NotAllowed(reason)
        _lock_conversations(user_id)
        counts = count_user_data(user_id)
        if counts["held"]:
            raise OnLegalHold.disclosed(HELD.format(count=counts["held"]))
        record_access(
            access,
            AccessAction.DELETE,
            owner=user,
            detail={
                "erased": True,
                "conversations": counts["conversations"],
                "messages": counts["messages"],
            },
        )
        with connection.cursor() as cursor:
            # One statement deletes all messages of the user, however many there are.
            cursor.execute("SET LOCAL statement_timeout = 0")
        note_write(access, user)
        ImportRun.objects.filter(owner_id=user_id).delete()
        user.delete()
        forget_changes_of(user, user_id)
    return counts


def _lock_conversations(user_id: int) -> None:
    """Lock the rows, so that no legal hold is placed between the check and the commit."""
    rows = Conversation.objects.owned_by(user_id).order_by("pk").select_for_update()
    for _ in rows.values_list("pk").iterator(chunk_size=10_000):
        pass
