"""Delete or empty many conversations in short transactions, beside those who write to them.

Each transaction takes so many messages that it is short, locks only conversations that nobody else
holds, and looks again whether they are due: what was written to meanwhile is left. A conversation
that has more messages goes in several. Until the last of them it exists, without its oldest
messages or with these emptied; if somebody writes to it by then, the rest is left, too.

Each transaction stores an AccessRecord for each owner, with the ids and counts of what went.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from django.contrib.auth.models import User
from django.db import transaction

from conversations.models import AccessAction, AccessContext, Conversation, RetentionAct
from conversations.models.conversation import ConversationQuerySet
from conversations.selectors.retention import Due
from conversations.services.audit import Detail, record_access
from conversations.services.deleting import Part, delete_first_messages, delete_whole
from conversations.services.emptying import empty_first_messages, empty_whole

# Conversations that are looked up, or that one AccessRecord names.
PAGE, NAMED = 1_000, 200
# Messages of a transaction, at first, at least and at most; and the seconds that one should take.
FIRST, LEAST, MOST = 200, 20, 2_000
SHORT, LONG = 0.1, 0.25

Progress = Callable[[int], None]


@dataclass(slots=True)
class Removed:
    """How much went. `left` are conversations that were due but in use, or written to meanwhile."""

    conversations: int = 0
    messages: int = 0
    left: int = 0

    def as_counts(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class _Pace:
    """How many messages one transaction takes, by the time that the last ones took."""

    messages: int = FIRST

    def note(self, seconds: float) -> None:
        if seconds > LONG:
            self.messages = max(LEAST, self.messages // 2)
        elif seconds < SHORT:
            self.messages = min(MOST, self.messages * 2)


@dataclass(slots=True)
class Removal:
    """One run over the conversations that are due.

    `why` stands in the AccessRecords, which have the ids with `names_ids`.
    """

    due: Due
    why: Detail
    access: AccessContext
    on_progress: Progress = lambda done: None
    names_ids: bool = True
    removed: Removed = field(default_factory=Removed)
    _pace: _Pace = field(default_factory=_Pace)

    def run(self) -> Removed:
        for page in self._pages():
            for batch in self._batches(page):
                self._remove(batch)
                self.on_progress(self.removed.conversations)
        return self.removed

    def _pages(self) -> Iterator[list[Conversation]]:
        """Those that are due, oldest first, without locks."""
        rows = self.due.conversations().order_by("updated_at", "pk")
        rows = rows.only("pk", "user_id", "message_count", "updated_at")
        last: Conversation | None = None
        while True:
            page = list((rows if last is None else _beyond(rows, last))[:PAGE])
            if not page:
                return
            yield page
            last = page[-1]

    def _batches(self, page: Sequence[Conversation]) -> Iterator[list[Conversation]]:
        """As many as have so many messages, but one at least."""
        batch: list[Conversation] = []
        size = 0
        for conversation in page:
            if batch and (
                size + conversation.message_count > self._pace.messages or len(batch) == NAMED
            ):
                yield batch
                batch, size = [], 0
            batch.append(conversation)
            size += conversation.message_count
        yield batch

    def _remove(self, batch: Sequence[Conversation]) -> None:
        (first, *others) = batch
        if not others and first.message_count > self._pace.messages:
            self._remove_in_parts(first)
            return
        with self._short_transaction():
            done = self._whole(batch)
        self.removed.conversations += done
        self.removed.left += len(batch) - done

    @contextmanager
    def _short_transaction(self) -> Iterator[None]:
        began = time.monotonic()
        with transaction.atomic():
            yield
        self._pace.note(time.monotonic() - began)

    def _whole(self, batch: Sequence[Conversation]) -> int:
        """Owner by owner, in the order of their ids: the number of conversations that went."""
        done = 0
        by_owner: dict[int, list[uuid.UUID]] = defaultdict(list)
        for conversation in batch:
            by_owner[conversation.user_id].append(conversation.pk)
        for owner_id in sorted(by_owner):
            locked = self._lock(owner_id, by_owner[owner_id])
            if locked:
                ids = [conversation.pk for conversation in locked]
                _ACTS[self.due.act](owner_id, ids)
                self._note(owner_id, ids, sum(one.message_count for one in locked))
                done += len(locked)
        return done

    def _lock(self, owner_id: int, ids: Sequence[uuid.UUID]) -> list[Conversation]:
        """Those that are still due and that nobody else holds."""
        rows = self.due.still_due(owner_id).filter(pk__in=ids)
        return list(rows.order_by("pk").select_for_update(skip_locked=True))

    def _remove_in_parts(self, conversation: Conversation) -> None:
        owner_id, ids = conversation.user_id, [conversation.pk]
        part = Part()
        while not part.is_last:
            with self._short_transaction():
                locked = self._lock(owner_id, ids)
                if not locked:
                    self.removed.left += 1
                    return
                part = _PARTS[self.due.act](locked[0], self._pace.messages, part.through)
                self._note(owner_id, ids, part.messages)
        self.removed.conversations += 1

    def _note(self, owner_id: int, ids: Sequence[uuid.UUID], messages: int) -> None:
        counts = {"conversations": len(ids), "messages": messages}
        named = {"ids": [str(id_) for id_ in ids]} if self.names_ids else {}
        record_access(
            self.access,
            AccessAction.DELETE,
            owner=User.objects.only("username").get(pk=owner_id),
            conversation_id=ids[0] if self.names_ids and len(ids) == 1 else None,
            detail={**self.why, "act": self.due.act, **counts, **named},
        )
        self.removed.messages += messages


def _beyond(rows: ConversationQuerySet, last: Conversation) -> ConversationQuerySet:
    same_time = {"updated_at": last.updated_at, "pk__lte": last.pk}
    return rows.filter(updated_at__gte=last.updated_at).exclude(**same_time)


_ACTS: dict[str, Callable[[int, Sequence[uuid.UUID]], None]] = {
    RetentionAct.DELETE: delete_whole,
    RetentionAct.EMPTY: empty_whole,
}
_PARTS: dict[str, Callable[[Conversation, int, int], Part]] = {
    RetentionAct.DELETE: delete_first_messages,
    RetentionAct.EMPTY: empty_first_messages,
}
