"""Branches of imported conversations: the parents of their messages, and which branch is shown."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Literal

from conversations.db.bulk_rows import Row
from conversations.formats import Chat
from conversations.models import Conversation, Message, id_from_key
from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.selectors.whole_trees import Parents
from conversations.services.appending import MAX_BATCH
from conversations.services.audit import SCRIPT
from conversations.services.branch_placement import OnBranch, Parent
from conversations.services.branches import delete_branch


def import_key(start: int) -> str:
    """The key under which the messages of a conversation from this index on are appended."""
    return f"import:{start}"


def parents_of(conversation_id: uuid.UUID, chat: Chat) -> list[Parent]:
    """What each message follows, for `append_drafts`; empty for a line.

    With the numbers of branches and the lengths of paths, so that nothing is counted in the
    database.
    """
    numbers = chat.branches or _numbered(chat.parents)
    lengths: list[int] = []
    parents: list[Parent] = []
    for follows, number in zip(chat.parents, numbers, strict=True):
        length = 0 if follows is None else lengths[follows]
        begins_after: uuid.UUID | Literal["root"] = "root"
        if follows is not None:
            begins_after = chat.messages[follows].id or message_id(conversation_id, follows)
        parents.append(OnBranch(number, begins_after, length))
        lengths.append(length + 1)
    return parents


def _numbered(parents: Iterable[int | None]) -> list[int]:
    """The branches of messages that are appended one after the other: what follows the end of a
    branch is on it, all else begins another one."""
    numbers: list[int] = []
    ends: dict[int | None, int] = {None: FIRST_LINE}
    new = count(FIRST_LINE + 1)
    for index, follows in enumerate(parents):
        ends[index] = ends.pop(follows) if follows in ends else next(new)
        numbers.append(ends[index])
    return numbers


def message_id(conversation_id: uuid.UUID, index: int) -> uuid.UUID:
    """The id of an imported message, as `append_drafts` derives it from the key of its batch."""
    start = index - index % MAX_BATCH
    return id_from_key(conversation_id, f"{import_key(start)}:{index - start}")


def show_active(owner_id: int, conversation_id: uuid.UUID, chat: Chat) -> None:
    """Activate the branch of the file, and delete the first one if the file has none."""
    if chat.branches and FIRST_LINE not in chat.branches:
        delete_branch(conversation_id=conversation_id, number=FIRST_LINE, access=SCRIPT)
    if chat.active is None:
        return
    messages = Message.objects.of(owner_id, conversation_id)
    row = messages.filter(id=message_id(conversation_id, chat.active)).values("branch").get()
    number = number_of(row["branch"])
    found = Conversation.objects.owned_by(owner_id).filter(pk=conversation_id)
    # Not a change of somebody's, which would move the conversation's time.
    found.exclude(active_branch=number).update(active_branch=number)


def first_difference_of_trees(
    owner_id: int, conversation_id: uuid.UUID, chat: Chat, stored: Sequence[Row]
) -> str | None:
    """The path of the first value in which the stored tree is another one than that of the file.

    `stored` are its first messages in order.
    """
    if not chat.parents and all(row["branch"] == FIRST_LINE for row in stored):
        return None
    parents = Parents(owner_id, conversation_id).of(stored)
    indexes: dict[uuid.UUID | None, int | None] = {None: None}
    for index, row in enumerate(stored):
        follows = chat.parents[index] if chat.parents else (index - 1 if index else None)
        if indexes.get(parents.get(row["id"]), -1) != follows:
            return f"messages.{index}.parent_id"
        if chat.branches and chat.branches[index] != number_of(row["branch"]):
            return f"messages.{index}.branch"
        indexes[row["id"]] = index
    return None
