"""The rows of an imported conversation, as appending its messages one after the other gives them.

Nothing is stored here, and nothing read: a conversation that is new has its whole tree in the file.
`tests/services/test_imported_rows.py` compares the rows with those of the functions that append.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from conversations.db.bulk_rows import Row, row_of
from conversations.formats import DRAFT_FIELDS, Chat, MessageDraft
from conversations.models import DEFAULT_TITLE, Conversation
from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.services.appending import MAX_BATCH
from conversations.services.branch_placement import Placement
from conversations.services.errors import InvalidValue
from conversations.services.imported_trees import message_id, parents_of
from conversations.services.titles import title_from

_DRAFT_COLUMNS = tuple(name for name in DRAFT_FIELDS if name not in {"id", "created_at"})


@dataclass(frozen=True, slots=True)
class NewRows:
    """The rows of one conversation, each with every column of its table."""

    conversation: Row
    branches: list[Row]
    messages: list[Row]
    reviews: list[Row] = field(default_factory=list)


def can_be_made(chat: Chat, drafts: Sequence[MessageDraft]) -> bool:
    """Whether `rows_of` gives the rows that appending gives.

    Not for long trees, of which appending rounds some times to a request; nor where the first line
    was deleted, which is a deletion here too; nor for messages with ids of their own.
    """
    if any(draft.id for draft in drafts):
        return False
    deleted = bool(chat.branches) and FIRST_LINE not in chat.branches
    return not chat.parents or (len(drafts) <= MAX_BATCH and not deleted)


def rows_of(chat: Chat, drafts: Sequence[MessageDraft], conversation: Conversation) -> NewRows:
    """The rows of a conversation that has no message yet; its counters, title and times are set.

    Raises InvalidValue for too many branches.
    """
    messages = [
        message_row(conversation, index, draft, draft.created_at or timezone.now())
        for index, draft in enumerate(drafts)
    ]
    branches = place(chat, messages, conversation)
    conversation.message_count = conversation.last_sequence = len(messages)
    for end in range(MAX_BATCH, len(messages) + MAX_BATCH, MAX_BATCH):
        last_of_request = messages[min(end, len(messages)) - 1]
        conversation.updated_at = max(conversation.updated_at, last_of_request["created_at"])
    if conversation.title == DEFAULT_TITLE:
        conversation.title = title_from(drafts) or DEFAULT_TITLE
    return NewRows(row_of(conversation), branches, messages)


def message_row(
    conversation: Conversation, index: int, draft: MessageDraft, created_at: datetime
) -> Row:
    """A message as one that is imported anew has it, on the first line."""
    row: Row = {name: getattr(draft, name) for name in _DRAFT_COLUMNS}
    row |= {
        "id": message_id(conversation.pk, index),
        "user_id": conversation.user_id,
        "conversation_id": conversation.pk,
        "sequence": index + 1,
        "branch": FIRST_LINE,
        "created_at": created_at,
        "updated_at": created_at,
    }
    return row


def place(chat: Chat, messages: Sequence[Row], conversation: Conversation) -> list[Row]:
    """The branches. Puts its branch into each message, and what is known of all of them into the
    conversation. Raises InvalidValue for too many branches."""
    if not chat.parents:
        return []
    placement = Placement(conversation)
    try:
        for row, parent in zip(messages, parents_of(conversation.pk, chat), strict=True):
            row["branch"] = placement.add(row["id"], row["sequence"], parent, row["created_at"])
    except InvalidValue as error:
        raise InvalidValue(error.detail, field="messages", code=error.code) from None
    conversation.last_branch = placement.last_branch
    conversation.branch_count += placement.added
    conversation.active_branch = placement.current
    if chat.active is not None:
        conversation.active_branch = number_of(messages[chat.active]["branch"])
    return list(map(row_of, placement.new_branches))
