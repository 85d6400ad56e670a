"""The feed of changes: each committed change is given a position, and stays there until it is old.

Triggers (migration 0021) write pending changes in the transaction of the change itself. Positions
are given afterwards, under a lock, to what is committed by then: so nothing ever appears behind a
position that somebody has read, whatever order transactions end in. Within a conversation the
order is that of the writes, which hold the locks of its rows. docs/scale.md says what differs on a
cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from conversations.models import Change, ChangeFeed, ChangeKind, PendingChange
from conversations.models.user_names import namespace_of
from conversations.selectors.changes import ChangeScope, FoundChange, find_changes
from conversations.services.errors import Gone

# Changes that are given a position, or removed, in one transaction.
BATCH = 2_000
# "changes", as the number of an advisory lock: held alone to write the feed, shared to read it.
_LOCK = 0x6368616E676573

REMOVED = (
    "Changes after this cursor were removed: they are kept for {days} days. Take a new cursor with "
    "`after=now`, read the lists again from the start, then go on from it."
)
AHEAD = (
    "This cursor is ahead of the feed, as after the restore of an older backup. Take a new cursor "
    "with `after=now`, read the lists again from the start, then go on from it."
)


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in order, and the position behind which the next page begins."""

    changes: list[FoundChange]
    next_position: int


def read_changes(*, scope: ChangeScope, after: int | None, limit: int) -> ChangePage:
    """The changes behind `after` (None: the oldest that are kept), at most `limit`.

    What was committed before this call is in the feed then. `next_position` also passes over what
    is not in the scope. Raises Gone for a position that was removed, or that was never given.
    """
    while True:
        more = sequence_changes()
        page = _read_page(scope, after, limit)
        if page.changes or not more:
            return page
        after = page.next_position


def _read_page(scope: ChangeScope, after: int | None, limit: int) -> ChangePage:
    # No position is given or removed meanwhile. On a cluster the nodes make a transaction visible
    # one after the other, before its lock is released.
    with _feed_lock(shared=True):
        feed = _feed()
        after = feed.removed_through if after is None else after
        if after < feed.removed_through:
            raise Gone(
                REMOVED.format(days=settings.CHAT_CHANGES_RETENTION_DAYS),
                field="after",
                code="changes_removed",
            )
        if after > feed.last_position:
            raise Gone(AHEAD, field="after", code="unknown_cursor")
        changes, more = find_changes(scope, after=after, until=feed.last_position, limit=limit)
    return ChangePage(changes, changes[-1].position if more else feed.last_position)


def end_of_feed() -> int:
    """The last position, after those that are pending have one: what is committed from now on
    comes behind it."""
    sequence_changes()
    return _feed().last_position


def sequence_changes() -> bool:
    """Give positions to pending changes, in order of arrival; whether there may be more."""
    if not PendingChange.objects.order_by("arrival").values_list("arrival")[:1]:
        return False
    with _feed_lock():
        pending = list(PendingChange.objects.order_by("arrival")[:BATCH])
        if not pending:
            return False
        owners = {change.user_id for change in pending}
        usernames = dict(User.objects.filter(pk__in=owners).values_list("pk", "username"))
        feed = _feed()
        Change.objects.bulk_create(
            _placed(change, position, usernames.get(change.user_id))
            for position, change in enumerate(pending, start=feed.last_position + 1)
        )
        _remove_pending([change.arrival for change in pending])
        ChangeFeed.objects.update(last_position=feed.last_position + len(pending))
    return len(pending) == BATCH


def _placed(change: PendingChange, position: int, username: str | None) -> Change:
    return Change(
        user_id=change.user_id,
        position=position,
        conversation_id=change.conversation_id,
        kind=change.kind,
        message_id=change.message_id,
        first_sequence=change.first_sequence,
        last_sequence=change.last_sequence,
        namespace=change.namespace if username is None else namespace_of(username),
        created_at=change.created_at,
    )


def _remove_pending(arrivals: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM conversations_pendingchange WHERE arrival = ANY(%s)", [arrivals]
        )


def remove_old_changes() -> bool:
    """Remove changes older than CHAT_CHANGES_RETENTION_DAYS; whether there may be more.

    Always from the start of the feed, so that a reader who missed some is told.
    """
    before = timezone.now() - timedelta(days=settings.CHAT_CHANGES_RETENTION_DAYS)
    oldest = Change.objects.order_by("position").values_list("position", "created_at")
    first = oldest.first()
    if first is None or first[1] >= before:
        return False
    with _feed_lock():
        old = [position for position, _ in takewhile(lambda row: row[1] < before, oldest[:BATCH])]
        if old:
            Change.objects.filter(position__lte=old[-1]).delete()
            ChangeFeed.objects.update(removed_through=old[-1])
    return len(old) == BATCH


def forget_some_changes_of(owner_id: int) -> bool:
    """Remove a batch of what `forget_changes_of` removes, so that no reader of the feed waits long;
    whether there may be more."""
    sequence_changes()
    own = Change.objects.filter(user_id=owner_id).exclude(kind=ChangeKind.CONVERSATION_DELETED)
    with _feed_lock():
        positions = list(own.order_by("position").values_list("position", flat=True)[:BATCH])
        Change.objects.filter(user_id=owner_id, position__in=positions).delete()
    return len(positions) == BATCH


def forget_changes_of(user: User, owner_id: int) -> None:
    """Remove the changes of a user who has just been deleted, in the same transaction.

    What stays is that conversations were deleted, by their ids, for those who keep copies.
    """
    _lock_feed()
    deletion = ChangeKind.CONVERSATION_DELETED
    pending = PendingChange.objects.filter(user_id=owner_id)
    pending.exclude(kind=deletion).delete()
    pending.update(namespace=namespace_of(user.username))
    Change.objects.filter(user_id=owner_id).exclude(kind=deletion).delete()


@contextmanager
def _feed_lock(*, shared: bool = False) -> Iterator[None]:
    with transaction.atomic():
        _lock_feed(shared=shared)
        yield


def _lock_feed(*, shared: bool = False) -> None:
    """Until the transaction ends."""
    with connection.cursor() as cursor:
        kind = "_shared" if shared else ""
        cursor.execute(f"SELECT pg_advisory_xact_lock{kind}(%s)", [_LOCK])


def _feed() -> ChangeFeed:
    return ChangeFeed.objects.get_or_create(pk=1)[0]
