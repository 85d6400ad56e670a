"""Store many conversations at once: what is known of them by a few statements, what is new by COPY.

A batch is one transaction; what does not go along with others is stored alone (`import_one.py`).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from conversations.db.bulk_rows import Row, copy_rows
from conversations.db.owners import is_distributed
from conversations.formats import Chat, MessageDraft
from conversations.models import Branch, Conversation, Message, Review, Tombstone
from conversations.services.conversations import (
    ANOTHER_CONVERSATION,
    DELETED_CONVERSATION,
    TAKEN_EXTERNAL_ID,
    insert_conversation,
)
from conversations.services.database_errors import not_found_from
from conversations.services.errors import Conflict, Deleted, ServiceError
from conversations.services.import_additions import STORED_COLUMNS, Matching
from conversations.services.import_as_exported import (
    ANOTHERS,
    check_stored_as_exported,
    rows_as_exported,
    stored_as_exported,
)
from conversations.services.import_dry_run import Seen
from conversations.services.import_one import (
    ALREADY_STORED,
    Added,
    has_all,
    ids_of,
    new_conversation,
    store_alone,
)
from conversations.services.imported_rows import NewRows, can_be_made, rows_of

# What is stored of a conversation now, or why it is refused.
Outcome = Added | ServiceError


@dataclass(slots=True)
class Item:
    """A checked conversation of a file, with its messages as they are to be stored; `ids` are those
    of `ids_of`, the first of them that under which it is stored."""

    chat: Chat
    drafts: list[MessageDraft]
    owner_id: int
    source: str
    ids: list[uuid.UUID] = field(init=False)

    def __post_init__(self) -> None:
        if self.chat.exported is not None:
            self.ids = [self.chat.exported.id]
        else:
            self.ids = ids_of(self.chat, self.owner_id, self.source)

    @property
    def external_key(self) -> tuple[int, str] | None:
        external_id = self.chat.external_id
        return None if external_id is None else (self.owner_id, external_id)

    @property
    def goes_along(self) -> bool:
        """Whether it is stored with others."""
        if is_distributed():
            return False
        return self.chat.exported is not None or can_be_made(self.chat, self.drafts)

    def new_rows(self) -> NewRows:
        """Raises InvalidValue for too many branches."""
        if self.chat.exported is not None:
            return rows_as_exported(self.chat, self.chat.exported, self.drafts, self.owner_id)
        new = new_conversation(self.chat, self.ids[0], self.owner_id, self.source)
        return rows_of(self.chat, self.drafts, new)


def store_batch(items: Sequence[Item]) -> list[Outcome]:
    """Store what is new, each conversation whole or not at all; what became of each.

    What a stored conversation lacks is added to it alone, by `store_alone`.
    """
    known = _Known(items)
    outcomes: dict[int, Outcome] = {}
    new: dict[int, NewRows] = {}
    for place, item in enumerate(items):
        try:
            id_ = known.stored_id(item)
            if id_ is not None and known.has_all(item, id_):
                outcomes[place] = ALREADY_STORED
            elif id_ is None and known.claim(item) and item.goes_along:
                new[place] = item.new_rows()
        except ServiceError as error:
            outcomes[place] = error
    if _copied(list(new.values())):
        outcomes |= {place: Added(True, items[place].drafts) for place in new}
    return [
        outcomes[place] if place in outcomes else _stored_alone(item)
        for place, item in enumerate(items)
    ]


def look_at_batch(items: Sequence[Item], seen: Seen) -> list[Outcome]:
    """The outcomes that `store_batch` would have; nothing is stored."""
    known = _Known(items)
    return [_outcome(_would_add, item, known, seen) for item in items]


def _would_add(item: Item, known: _Known, seen: Seen) -> Added:
    id_ = known.stored_id(item)
    if id_ is not None and known.has_all(item, id_):
        return ALREADY_STORED
    keys = [key.bytes for key in item.ids]
    if id_ is not None:
        additions = Matching(item.owner_id, id_, item.chat, item.drafts).additions
        indexes = [addition.index for addition in additions]
    else:
        indexes = list(range(len(item.drafts)))
    before, left = seen.without(keys, item.chat, item.drafts, item.external_key, indexes)
    if id_ is None and not before:
        item.new_rows()
    seen.add(keys, item.chat, item.drafts, item.external_key, left)
    return Added(id_ is None and not before, [item.drafts[index] for index in left])


def _outcome(store: Callable[..., Added], *given: Any) -> Outcome:
    try:
        return store(*given)
    except ServiceError as error:
        return error
    except IntegrityError as error:
        if (refusal := not_found_from(error)) is None:
            raise
        return refusal


def _stored_alone(item: Item) -> Outcome:
    if item.chat.exported is not None:
        return _outcome(_store_as_exported, item)
    return _outcome(store_alone, item.chat, item.drafts, item.ids, item.owner_id, item.source)


def _store_as_exported(item: Item) -> Added:
    """Store it, unless it was stored before, just so."""
    if _is_stored_as_exported(item):
        return ALREADY_STORED
    rows = item.new_rows()
    with transaction.atomic():
        if insert_conversation(Conversation(**rows.conversation)):
            _copy_parts([rows])
            return Added(True, item.drafts)
    if _is_stored_as_exported(item):  # by another process, this moment
        return ALREADY_STORED
    raise Conflict(ANOTHER_CONVERSATION, field="id")


def _is_stored_as_exported(item: Item) -> bool:
    known = _Known([item])
    id_ = known.stored_id(item)
    return id_ is not None and known.has_all(item, id_)


def _copied(new: Sequence[NewRows]) -> bool:
    """Store them in one transaction; False where something conflicts, and nothing is stored."""
    if not new:
        return True
    # Two imports of the same conversations wait for each other, in the same order.
    ordered = sorted(new, key=lambda rows: str(rows.conversation["id"]))
    try:
        with transaction.atomic():
            copy_rows(Conversation, [rows.conversation for rows in ordered])
            _copy_parts(new)
    except IntegrityError:  # stored by another process meanwhile, or their owner erased
        return False
    return True


def _copy_parts(new: Sequence[NewRows]) -> None:
    if branches := [branch for rows in new for branch in rows.branches]:
        copy_rows(Branch, branches)
    copy_rows(Message, (message for rows in new for message in rows.messages))
    if reviews := [review for rows in new for review in rows.reviews]:
        copy_rows(Review, reviews)


class _Known:
    """Which of the conversations of a batch are stored, or were deleted."""

    def __init__(self, items: Sequence[Item]) -> None:
        ids = [id_ for item in items for id_ in item.ids]
        keys = [item.external_key for item in items if item.external_key]
        stored = Conversation.objects.filter(pk__in=ids)
        self._counts = {
            (owner_id, id_): count
            for owner_id, id_, count in stored.values_list("user_id", "pk", "message_count")
        }
        self._owners = {id_: owner_id for owner_id, id_ in self._counts}
        tombstones = Tombstone.objects.filter(id__in=ids, conversation_id=F("id"))
        self._deleted = set(tombstones.values_list("user_id", "id"))
        self._deleted_ids = {id_ for _, id_ in self._deleted}
        self._claimed: set[object] = set()
        self._external = _with_external_ids(keys) if keys else {}
        self._messages = self._messages_of(items)
        self._exported = self._exported_of(items)

    def stored_id(self, item: Item) -> uuid.UUID | None:
        """The id under which it is stored. Raises Conflict and Deleted, as `store_alone`."""
        id_ = self._stored_id(item)
        if item.chat.exported is not None:
            self._check_id(item)
        if id_ is None and any((item.owner_id, id_) in self._deleted for id_ in item.ids):
            raise Deleted(DELETED_CONVERSATION)
        taken_by = self._external.get(item.external_key) if item.external_key else None
        if taken_by is not None and taken_by != (id_ or item.ids[0]):
            raise Conflict(TAKEN_EXTERNAL_ID, field="external_id")
        return id_

    def has_all(self, item: Item, id_: uuid.UUID) -> bool:
        """Whether what is stored under this id has these messages, as far as a glance tells. Raises
        Conflict for one of an export of ours that is stored otherwise."""
        if item.chat.exported is not None:
            check_stored_as_exported(item.chat, item.drafts, self._exported.get(id_))
            return True
        return has_all(item.owner_id, id_, item.chat, item.drafts, self._messages.get(id_))

    def _check_id(self, item: Item) -> None:
        """An id of ours is one for all owners, and was, where its conversation is deleted."""
        if self._owners.get(item.ids[0], item.owner_id) != item.owner_id:
            raise Conflict(ANOTHERS, field="id")
        if item.ids[0] in self._deleted_ids:
            raise Deleted(DELETED_CONVERSATION, field="id")

    def claim(self, item: Item) -> bool:
        """Whether no other conversation of the batch has one of its ids."""
        keys = {*item.ids, *([item.external_key] if item.external_key else [])}
        free = self._claimed.isdisjoint(keys)
        self._claimed |= keys
        return free

    def _stored_id(self, item: Item) -> uuid.UUID | None:
        """That of an earlier release first, as `store_alone` looks for it."""
        own, *earlier = item.ids
        return next((id_ for id_ in (*earlier, own) if (item.owner_id, id_) in self._counts), None)

    def _messages_of(self, items: Sequence[Item]) -> dict[uuid.UUID, list[Row]]:
        """The stored messages to compare with, of conversations that have not grown since."""
        wanted: dict[int, list[uuid.UUID]] = defaultdict(list)
        for item in items:
            id_ = None if item.chat.exported else self._stored_id(item)
            if id_ and self._counts[item.owner_id, id_] <= len(item.drafts):
                wanted[item.owner_id].append(id_)
        found: dict[uuid.UUID, list[Row]] = {}
        for owner_id, ids in wanted.items():
            messages = Message.objects.filter(user_id=owner_id, conversation_id__in=ids)
            rows = messages.order_by("conversation_id", "sequence")
            columns = rows.values("conversation_id", *STORED_COLUMNS)
            for id_, group in groupby(columns, key=lambda row: row["conversation_id"]):
                found[id_] = list(group)
        return found

    def _exported_of(self, items: Sequence[Item]) -> dict[uuid.UUID, Chat]:
        """The stored conversations to compare with whole, of those with as many messages."""
        wanted: dict[int, list[uuid.UUID]] = defaultdict(list)
        for item in items:
            id_ = item.ids[0]
            if item.chat.exported and self._counts.get((item.owner_id, id_)) == len(item.drafts):
                wanted[item.owner_id].append(id_)
        found: dict[uuid.UUID, Chat] = {}
        for owner_id, ids in wanted.items():
            found |= stored_as_exported(owner_id, ids)
        return found


def _with_external_ids(keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], uuid.UUID]:
    owners, names = {owner for owner, _ in keys}, {name for _, name in keys}
    found = Conversation.objects.filter(user_id__in=owners, external_id__in=names)
    return {
        (owner_id, external_id): id_
        for owner_id, external_id, id_ in found.values_list("user_id", "external_id", "pk")
        if external_id is not None
    }
