"""What a file has beyond the stored conversation: a later export of one that has grown since.

What is there stays as it is, changed and deleted messages too. A message of the file is a stored
one if the application gave both the same id, or if it says the same after the same message; one
that was deleted or emptied here is recognised by the id that an import derives from its place in
the file.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from conversations.db.bulk_rows import Row
from conversations.formats import Chat, MessageDraft, source_id
from conversations.models import Conversation, Message, Tombstone, id_from_key
from conversations.models.branch_path import number_of
from conversations.selectors.whole_trees import Parents
from conversations.services.appending import MAX_BATCH, append_drafts
from conversations.services.audit import SCRIPT
from conversations.services.branch_placement import Parent
from conversations.services.conversations import DELETED_CONVERSATION
from conversations.services.errors import Conflict, Deleted, InvalidValue
from conversations.services.imported_trees import message_id
from conversations.services.validators import as_stored

STORED_DIFFERS = "The conversation stored under this id has another value here."
REORDERED = (
    "Messages of the stored conversation were deleted or emptied, and the file has the others in "
    "another order: which of its messages these were cannot be told."
)

# What a message says. Its other columns may differ between two exports: more is known later.
SAID = ("role", "content", "parts", "tool_calls", "tool_call_id", "name")
# What is compared, and needed to compare it.
STORED_COLUMNS = ("id", "sequence", "branch", "emptied_at", "extra", *SAID)


@dataclass(frozen=True, slots=True)
class Addition:
    """The message of this index is not stored: the id that it gets, and what it follows."""

    index: int
    id: uuid.UUID
    parent: Parent


def said_otherwise(row: Row, draft: MessageDraft) -> str | None:
    """The first column in which a stored message says something else."""
    return next(
        (name for name in SAID if as_stored(row[name]) != as_stored(getattr(draft, name))), None
    )


def names_of(drafts: Iterable[MessageDraft]) -> list[str | None]:
    """The ids that the application gave them; None where it gave none, or the same twice."""
    names = [source_id(draft.extra) for draft in drafts]
    counts = Counter(names)
    return [name if counts[name] == 1 else None for name in names]


def forms_of(chat: Chat, drafts: Sequence[MessageDraft], index: int) -> list[MessageDraft]:
    """A message as it is read now, and as earlier releases read it."""
    earlier = chat.earlier.messages[index : index + 1] if chat.earlier else ()
    return [drafts[index], *earlier]


def is_same(row: Row, name: str | None, forms: Iterable[MessageDraft]) -> bool:
    """Whether a stored message is the one that the application gave this id, or says the same."""
    stored = source_id(row["extra"])
    if name is not None and stored is not None:
        return name == stored
    return any(said_otherwise(row, form) is None for form in forms)


class Matching:
    """Which stored message each message of a file is.

    `additions` are those that are not stored. `places` has for each message the id under which it
    is stored or to be added; for one that was deleted here, that of the one before it, and None at
    the beginning. Raises Conflict, naming the field, where another message has its place.
    """

    def __init__(
        self,
        owner_id: int,
        conversation_id: uuid.UUID,
        chat: Chat,
        drafts: Sequence[MessageDraft],
    ) -> None:
        self._conversation_id = conversation_id
        messages = Message.objects.of(owner_id, conversation_id).in_order()
        rows: list[Row] = list(messages.values(*STORED_COLUMNS))
        self._rows = {row["id"]: row for row in rows}
        self._parents = Parents(owner_id, conversation_id).of(rows)
        self._children: dict[uuid.UUID | None, list[Row]] = defaultdict(list)
        for row in rows:
            self._children[self._parents.get(row["id"])].append(row)
        stored_names = Counter(source_id(row["extra"]) for row in rows)
        self._by_name = {
            name: row
            for row in rows
            if (name := source_id(row["extra"])) is not None and stored_names[name] == 1
        }
        self._names = names_of(drafts)
        self._ids = [message_id(conversation_id, index) for index in range(len(drafts))]
        self._index_of = {id_: index for index, id_ in enumerate(self._ids)}
        self._deleted = self._tombstones(owner_id)
        self._used: set[uuid.UUID] = set()
        self._reordered = False
        self._drafts, self._chat = drafts, chat
        self.additions: list[Addition] = []
        self.places: list[uuid.UUID | None] = []
        for index in range(len(drafts)):
            self.places.append(self._place(index))
        if self._reordered and (self._deleted or any(row["emptied_at"] for row in rows)):
            raise Conflict(REORDERED, field="messages")

    def _tombstones(self, owner_id: int) -> set[uuid.UUID]:
        ids = self._ids + [self._id_of_name(name) for name in self._names if name is not None]
        place = {"user_id": owner_id, "conversation_id": self._conversation_id}
        found = Tombstone.objects.filter(**place, id__in=ids)
        return set(found.values_list("id", flat=True))

    def _id_of_name(self, name: str) -> uuid.UUID:
        """That of a message whose place in the file another one had in an earlier export."""
        return id_from_key(self._conversation_id, f"import:message:{name}")

    def _place(self, index: int) -> uuid.UUID | None:
        follows = index - 1 if index else None
        if self._chat.parents:
            follows = self._chat.parents[index]
        parent = None if follows is None else self.places[follows]
        own, name = self._ids[index], self._names[index]
        row = self._by_name.get(name) if name else None
        if row is None and self._is_deleted(own, name):
            return parent
        if row is None:
            row = self._same_after(index, parent)
        if row is not None:
            id_: uuid.UUID = row["id"]
            self._used.add(id_)
            self._reordered |= self._index_of.get(id_, index) != index
            return id_
        if own in self._rows:
            own = self._other_id(index)
        self.additions.append(Addition(index, own, parent or "root"))
        return own

    def _is_deleted(self, own: uuid.UUID, name: str | None) -> bool:
        return own in self._deleted or (
            name is not None and self._id_of_name(name) in self._deleted
        )

    def _same_after(self, index: int, parent: uuid.UUID | None) -> Row | None:
        """The stored row of a message without a known name, which follows the message `parent`."""
        name, forms = self._names[index], forms_of(self._chat, self._drafts, index)
        own = self._rows.get(self._ids[index])
        if own and own["emptied_at"] and self._parents.get(own["id"]) == parent:
            return own
        same = [
            row
            for row in self._children[parent]
            if row["id"] not in self._used and is_same(row, name, forms)
        ]
        return own if own in same else next(iter(same), None)

    def _other_id(self, index: int) -> uuid.UUID:
        """The id of a message whose own one another has. Raises Conflict unless the application's
        ids tell that they are two."""
        there, name = self._rows[self._ids[index]], self._names[index]
        if there["emptied_at"]:
            raise Conflict(REORDERED, field="messages")
        if name is None or source_id(there["extra"]) is None:
            column = said_otherwise(there, self._drafts[index]) or "parent_id"
            raise Conflict(STORED_DIFFERS, field=f"messages.{index}.{column}")
        return self._id_of_name(name)


def add_to_stored(
    owner_id: int, conversation_id: uuid.UUID, chat: Chat, drafts: Sequence[MessageDraft]
) -> list[MessageDraft]:
    """Add what is not there, all or none; those that were added.

    The branch that is active in the file is then active here, as after an append. Raises Conflict,
    naming the field, where another message has the place of one of the file, Deleted for a
    conversation that was deleted, and InvalidValue for too many branches.
    """
    found = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
    with transaction.atomic():
        locked = found.select_for_update(no_key=True).first()
        if locked is None:
            raise Deleted(DELETED_CONVERSATION)
        matching = Matching(owner_id, conversation_id, chat, drafts)
        additions = matching.additions
        for start in range(0, len(additions), MAX_BATCH):
            _append(owner_id, conversation_id, additions[start : start + MAX_BATCH], drafts)
        if additions and not locked.legal_hold:
            index = len(drafts) - 1 if chat.active is None else chat.active
            _show(found, matching.places[index], chat)
    return [drafts[addition.index] for addition in additions]


def _append(
    owner_id: int,
    conversation_id: uuid.UUID,
    additions: Sequence[Addition],
    drafts: Sequence[MessageDraft],
) -> None:
    try:
        append_drafts(
            conversation_id=conversation_id,
            owner_id=owner_id,
            access=SCRIPT,
            drafts=[replace(drafts[each.index], id=each.id) for each in additions],
            from_client=False,
            parents=[each.parent for each in additions],
        )
    except InvalidValue as error:  # too many branches; the index in its field is the batch's
        raise InvalidValue(error.detail, field="messages", code=error.code) from None


def _show(found: QuerySet[Conversation], message: uuid.UUID | None, chat: Chat) -> None:
    """Activate the branch of this message; the time of the conversation is the later one."""
    row = found.values("user_id", "pk", "active_branch", "updated_at").get()
    changes: dict[str, Any] = {}
    if message is not None:
        messages = Message.objects.of(row["user_id"], row["pk"])
        value = messages.filter(id=message).values_list("branch", flat=True).get()
        if number_of(value) != row["active_branch"]:
            changes["active_branch"] = number_of(value)
    if chat.updated_at is not None and chat.updated_at > row["updated_at"]:
        changes["updated_at"] = chat.updated_at
    if changes:
        found.update(**changes)
