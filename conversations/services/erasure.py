"""Erase a user: the account, all data of its conversations, and their traces elsewhere.

Of little data, in one transaction, all or nothing. Of much, the account is closed first, then
conversations go in short transactions (`removal`), and the account itself with what is left at the
end. What was interrupted goes on when it is called again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import BigIntegerField, Count, Q, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone

from conversations.models import (
    AccessAction,
    AccessContext,
    AccessRecord,
    Conversation,
    RetentionAct,
)
from conversations.selectors.retention import Due
from conversations.selectors.traces import Traces, traces_of
from conversations.services.audit import note_write, record_access
from conversations.services.changes import forget_changes_of, forget_some_changes_of
from conversations.services.errors import (
    Conflict,
    NotAllowed,
    NotFound,
    OnLegalHold,
    ReasonRequired,
)
from conversations.services.import_uploads import forget_imports_of
from conversations.services.pseudonyms import Counts, end_logins, new_pseudonym, remove_names
from conversations.services.removal import Removal

NO_SUCH_USER = "No such user."
NOT_ONESELF = "You cannot erase your own account."
NOT_STAFF = "This is a staff account. Remove its staff and superuser status before you erase it."
HELD = "{what} was erased: {count:,} of this user's conversations are on legal hold."
NOT_EXPORTED = (
    "{count:,} conversations were written to since the export began: the account is closed, and "
    "nothing of them was erased. Export and erase again."
)
# Up to so many messages and conversations are erased in one transaction.
AT_ONCE = 2_000
_ERASING = {"erasing": True}


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


@dataclass(slots=True)
class Erasure:
    """What is known of an erasure when it has been done.

    `erased` are numbers of what is gone, `replaced` of rows of others in which the pseudonym stands
    now; `reason` is the one that was given, with the pseudonym too. `traces` are what a search for
    remains looks for.
    """

    pseudonym: str
    traces: Traces
    reason: str = ""
    held: int = 0
    erased: Counts = field(default_factory=dict)
    replaced: Counts = field(default_factory=dict)


def erase_user(
    *,
    user_id: int,
    access: AccessContext,
    export: Callable[[], None] | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Erasure:
    """Delete the user with all conversations, messages, notes, reviews, tokens and sessions.

    Nothing is deleted if a conversation is on legal hold; with much data, what one is placed on
    while it is being erased stays, with the account. What remains is an AccessRecord with counts
    and a pseudonym, and in the feed of changes the ids of the deleted conversations. Raises
    NotFound, NotAllowed, OnLegalHold, and ReasonRequired for a caller without a reason.

    `export` is called once the account is closed; what has newer messages than this call is not
    erased: Conflict.
    """
    if access.caller is not None and not access.reason:
        raise ReasonRequired
    user = _check(user_id, access)
    traces = traces_of(user)
    logins: Counts = {}
    exported_at = None
    if export is not None:
        logins, exported_at = _close(user_id, access), timezone.now()
        export()
    while _is_much(user_id):
        logins = _sum(logins, _close(user_id, access))
        due = Due(act=RetentionAct.DELETE, owner_id=user_id, before=exported_at)
        removal = Removal(due, _ERASING, access, on_progress, names_ids=False)
        if not removal.run().conversations:
            break
    while forget_some_changes_of(user_id):
        pass
    return _erase_rest(user_id, access, exported_at, traces, logins)


def _close(user_id: int, access: AccessContext) -> Counts:
    """Nobody logs in to the account from now on, with a password or a token. The numbers of what
    was deleted."""
    with transaction.atomic():
        user = _check(user_id, access, lock=True)
        User.objects.filter(pk=user_id).update(is_active=False)
        return end_logins(user)


def _check(user_id: int, access: AccessContext, *, lock: bool = False) -> User:
    users = User.objects.select_for_update() if lock else User.objects.all()
    user = users.filter(pk=user_id).first()
    if user is None:
        raise NotFound(NO_SUCH_USER)
    if reason := why_not_erasable(user, access):
        raise NotAllowed(reason)
    if held := count_user_data(user_id)["held"]:
        what = "Not everything" if _erased_before(user_id)["conversations"] else "Nothing"
        raise OnLegalHold.disclosed(HELD.format(what=what, count=held))
    return user


def _is_much(user_id: int) -> bool:
    counts = count_user_data(user_id)
    return counts["messages"] + counts["conversations"] > AT_ONCE


def _erase_rest(
    user_id: int,
    access: AccessContext,
    exported_at: datetime | None,
    traces: Traces,
    logins: Counts,
) -> Erasure:
    """The account with all that is left of it, in one transaction."""
    erasure = Erasure(new_pseudonym(), traces)
    with transaction.atomic():
        user = _check(user_id, access, lock=True)
        _lock_conversations(user_id)
        user = _check(user_id, access)
        _check_exported(user_id, exported_at)
        counts = count_user_data(user_id)
        before = _erased_before(user_id)
        erasure.erased = {name: counts[name] + before[name] for name in before}
        erasure.erased |= _sum(logins, end_logins(user))
        with connection.cursor() as cursor:
            # One statement deletes all that is left of the user.
            cursor.execute("SET LOCAL statement_timeout = 0")
        note_write(access, user)
        forget_imports_of(user_id)
        user.delete()
        forget_changes_of(user, user_id)
        # Before names are removed: the reason may have one.
        record_access(
            access,
            AccessAction.DELETE,
            owner=User(username=erasure.pseudonym),
            detail={"erased": True, **erasure.erased},
        )
        erasure.replaced = remove_names(traces, erasure.pseudonym)
        erasure.held = erasure.replaced.pop("held")
        erasure.reason = AccessRecord.objects.get(
            owner_name=erasure.pseudonym, detail__erased=True
        ).reason
    return erasure


def _check_exported(user_id: int, exported_at: datetime | None) -> None:
    if exported_at is None:
        return
    newer = Conversation.objects.owned_by(user_id).filter(updated_at__gte=exported_at).count()
    if newer:
        raise Conflict(NOT_EXPORTED.format(count=newer), code="not_exported")


def _erased_before(user_id: int) -> Counts:
    """What earlier steps have erased, by their AccessRecords."""
    steps = AccessRecord.objects.filter(owner_id=user_id, detail__contains=_ERASING)
    sums = {
        name: Sum(Cast(KeyTextTransform(name, "detail"), BigIntegerField()), default=0)
        for name in ("conversations", "messages")
    }
    return steps.aggregate(**sums)


def _sum(one: Counts, other: Counts) -> Counts:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}


def _lock_conversations(user_id: int) -> None:
    """Lock the rows, so that no legal hold is placed between the check and the commit."""
    rows = Conversation.objects.owned_by(user_id).order_by("pk").select_for_update()
    for _ in rows.values_list("pk").iterator(chunk_size=10_000):
        pass
