"""The items of a conversation: pages of its active branch, and single ones."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from conversations.api.openai.ids import message_id_in
from conversations.api.queries import check_is_there
from conversations.db.bulk_rows import Row
from conversations.formats.item_types import Item
from conversations.formats.response_items import items_of
from conversations.models.branch_path import LAST
from conversations.models.message import MAX_ITEM_ID_CHARS
from conversations.selectors.message_pages import (
    MessagePage,
    messages_with_ids,
    page_of_messages,
)
from conversations.selectors.sent_items import conversations_of, message_of_sent_item
from conversations.services import NotFound

NO_SUCH_ITEM = "No such item in this conversation."


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item, and the message that it is of; `is_only`: the only item of it."""

    item: Item
    message_id: uuid.UUID
    sequence: int
    is_only: bool


@dataclass(frozen=True, slots=True)
class ItemPages:
    """Reads the items of one conversation of an owner."""

    owner_id: int
    conversation_id: uuid.UUID

    def page(self, *, after: str | None, descending: bool, limit: int) -> tuple[list[Item], bool]:
        """At most `limit` items after the one with this id, and whether others follow. Raises
        NotFound. Two statements, three beyond an item, one more if that was sent with its id."""
        found = None if after is None else self.find(after, field="after")
        above, below = 0, LAST
        if found is not None:
            # Its message again: other items of that may follow.
            above, below = (0, found.sequence + 1) if descending else (found.sequence - 1, LAST)
        messages = page_of_messages(
            self.owner_id,
            self.conversation_id,
            above=above,
            below=below,
            descending=descending,
            limit=limit + 2,
        )
        if messages is None:
            check_is_there(self.conversation_id, self.owner_id)
        items = [item for row in rows_of(messages) for item in _items(row, descending)]
        if found is not None:
            items = _after(found.item["id"], items)
        return items[:limit], len(items) > limit

    def find(self, item_id: str, *, field: str | None = None) -> FoundItem:
        """The item with this id, which is its own or that of its message. Raises NotFound."""
        if not (item_id.isprintable() and len(item_id) <= MAX_ITEM_ID_CHARS):
            raise NotFound(NO_SUCH_ITEM, field=field)
        key, is_numbered = message_id_in(item_id)
        named = None if key is None else self._row(key)
        if named is not None and (found := _found(named, item_id)):
            return found
        sent = message_of_sent_item(self.owner_id, self.conversation_id, item_id)
        if sent is not None and (row := self._row(sent)):
            return _found(row, item_id) or _first(row)
        if named is None or is_numbered:
            raise NotFound(NO_SUCH_ITEM, field=field)
        return _first(named)

    def _row(self, key: uuid.UUID) -> Row | None:
        rows = rows_of(messages_with_ids(self.owner_id, self.conversation_id, [key]))
        return rows[0] if rows else None


def items_of_owner(owner_id: int, item_ids: Iterable[str]) -> dict[str, FoundItem]:
    """The items with these ids, in whichever of the owner's conversations they are. Only by ids
    that are made here. One statement, and one for each of the conversations."""
    named = {item_id: message_id_in(item_id) for item_id in item_ids}
    keys = {key for key, _ in named.values() if key is not None}
    rows: dict[uuid.UUID, Row] = {}
    for conversation_id, ids in conversations_of(owner_id, keys).items():
        page = messages_with_ids(owner_id, conversation_id, ids)
        rows |= {uuid.UUID(row["id"]): row for row in rows_of(page)}
    found: dict[str, FoundItem] = {}
    for item_id, (key, is_numbered) in named.items():
        if key is None or (row := rows.get(key)) is None:
            continue
        item = _found(row, item_id) or (None if is_numbered else _first(row))
        if item is not None:
            found[item_id] = item
    return found


def rows_of(page: MessagePage | None) -> list[Row]:
    """The messages of a page as the API shows them; none where there is no page."""
    rows: list[Row] = orjson.loads(b"[%b]" % page.json) if page else []
    return rows


def _items(row: Row, descending: bool) -> list[Item]:
    items = items_of(row)
    return items[::-1] if descending else items


def _after(item_id: str, items: list[Item]) -> list[Item]:
    """Those after it; all of them where it is not on the branch that is read."""
    places = [place for place, item in enumerate(items, start=1) if item["id"] == item_id]
    return items[places[0] :] if places else items


def _found(row: Row, item_id: str) -> FoundItem | None:
    items = items_of(row)
    return next((_of(row, items, item) for item in items if item["id"] == item_id), None)


def _first(row: Row) -> FoundItem:
    items = items_of(row)
    return _of(row, items, items[0])


def _of(row: Row, items: list[Item], item: Item) -> FoundItem:
    return FoundItem(item, uuid.UUID(row["id"]), row["sequence"], len(items) == 1)
