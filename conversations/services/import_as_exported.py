"""Conversations as an export of ours has them: their rows, and whether they are stored just so.

An id stands for one conversation, of one owner: what is stored under it is compared whole, and is
never changed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from itertools import takewhile
from typing import Any

import orjson
from django.contrib.auth.models import User

from conversations.db.bulk_rows import Row, row_of
from conversations.formats import (
    AsExported,
    Chat,
    MessageDraft,
    RecordedReview,
    exported_chats,
)
from conversations.models import Conversation, new_id
from conversations.models.branch_path import FIRST_LINE
from conversations.models.user_names import MAX_USERNAME_CHARS
from conversations.services.audit import SCRIPT
from conversations.services.conversation_values import LONG_TEXT, checked_tags
from conversations.services.drafts import OUT_OF_RANGE
from conversations.services.errors import Conflict, InvalidValue, ServiceError
from conversations.services.export import export_conversations
from conversations.services.import_additions import STORED_DIFFERS
from conversations.services.import_one import as_imported, new_conversation
from conversations.services.imported_rows import NewRows, message_row, place
from conversations.services.reviews import check_review
from conversations.services.validators import check_text

EMPTY_TITLE = "The title may not be empty."
CHANGED_TAGS = "Must be trimmed, each once."
ANOTHERS = "A conversation of another owner has this id."
IN_FILE_TWICE = "Another conversation of the file has this id, with other values."
MAX_SEQUENCE = 2**31 - 1
_MAX_SOURCE_CHARS = 50

# Where it was read, what follows from the rest, and whose it is, which is compared as an account.
_NOT_COMPARED = {"line", "file", "format", "file_id", "owner", "earlier", "messages", "exported"}
_OF_CHATS = [column.name for column in fields(Chat) if column.name not in _NOT_COMPARED]
_PATHS = {"parents": "messages", "branches": "messages", "active": "active_branch"}
_OF_MESSAGES = [column.name for column in fields(MessageDraft)]


def check_exported(chat: Chat, exported: AsExported) -> None:
    """Raise InvalidValue, naming the field, unless its own columns can be stored as they are."""
    if not chat.title:
        raise InvalidValue(EMPTY_TITLE, field="title", code="blank")
    if checked_tags(chat.tags) != chat.tags:
        raise InvalidValue(CHANGED_TAGS, field="tags")
    _check_text("source", exported.source, _MAX_SOURCE_CHARS)
    if exported.sequences and exported.sequences[-1] > MAX_SEQUENCE:
        last = len(exported.sequences) - 1
        raise InvalidValue(OUT_OF_RANGE, field=f"messages.{last}.sequence")
    for index, reviews in enumerate(exported.reviews):
        for number, review in enumerate(reviews):
            try:
                _check_text("reviewer", review.reviewer, MAX_USERNAME_CHARS)
                check_review(review.score, review.labels, review.comment)
            except ServiceError as error:
                at = f"messages.{index}.reviews.{number}"
                raise error.with_field_prefix(at) from None


def _check_text(field: str, text: str, limit: int) -> None:
    check_text(field, text)
    if len(text) > limit:
        raise InvalidValue(LONG_TEXT, field=field, code="max_length")


def rows_as_exported(
    chat: Chat, exported: AsExported, drafts: Sequence[MessageDraft], owner_id: int
) -> NewRows:
    """Its rows, with the ids, sequences, branches, times and reviews of the file.

    Raises InvalidValue for too many branches.
    """
    conversation = new_conversation(chat, exported.id, owner_id, exported.source)
    messages = list(_message_rows(conversation, exported, drafts))
    branches = place(chat, messages, conversation)
    if chat.branches and FIRST_LINE not in chat.branches:
        # It was deleted: what is left are other beginnings.
        branches = [branch for branch in branches if branch["number"] != FIRST_LINE]
        conversation.branch_count -= 1
    conversation.message_count = len(messages)
    conversation.last_sequence = max(exported.sequences, default=0)
    emptied = list(takewhile(lambda row: row["emptied_at"] is not None, messages))
    conversation.emptied_through = emptied[-1]["sequence"] if emptied else 0
    reviews = list(_review_rows(messages, exported))
    return NewRows(row_of(conversation), branches, messages, reviews)


def _message_rows(
    conversation: Conversation, exported: AsExported, drafts: Sequence[MessageDraft]
) -> Iterator[Row]:
    for index, (draft, sequence) in enumerate(zip(drafts, exported.sequences, strict=True)):
        assert draft.created_at is not None  # the reader has looked
        row = message_row(conversation, index, draft, draft.created_at)
        yield row | {"id": draft.id, "sequence": sequence}


def _review_rows(messages: Sequence[Row], exported: AsExported) -> Iterator[Row]:
    accounts = _accounts_of({each.reviewer for of in exported.reviews for each in of})
    for message, reviews in zip(messages, exported.reviews, strict=True):
        ids = sorted(new_id() for _ in reviews)  # of reviews of one time, ids are the order
        reviewers = _reviewer_ids(reviews, accounts)
        for id_, reviewer_id, review in zip(ids, reviewers, reviews, strict=True):
            yield {
                "id": id_,
                "user_id": message["user_id"],
                "conversation_id": message["conversation_id"],
                "message_id": message["id"],
                "reviewer_id": reviewer_id,
                "reviewer_name": review.reviewer,
                "score": review.score,
                "labels": review.labels,
                "comment": review.comment,
                "created_at": review.created_at,
                "updated_at": review.updated_at,
            }


def _accounts_of(usernames: Collection[str]) -> dict[str, int]:
    if not usernames:
        return {}
    return dict(User.objects.filter(username__in=usernames).values_list("username", "pk"))


def _reviewer_ids(reviews: Sequence[RecordedReview], accounts: dict[str, int]) -> Iterator[int]:
    """The account of this name, once a message: an earlier account may have had the name too. Whom
    there is not has an id that no account has."""
    used: set[int] = set()
    for number, review in enumerate(reviews):
        account = accounts.get(review.reviewer)
        if account is None or account in used:
            digest = hashlib.sha256(f"{number}:{review.reviewer}".encode()).digest()
            account = -1 - int.from_bytes(digest[:7])
        used.add(account)
        yield account


def stored_as_exported(owner_id: int, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Chat]:
    """What an export of these conversations of an owner has now."""
    rows = Conversation.objects.owned_by(owner_id).filter(pk__in=ids)
    chunks = export_conversations(conversations=rows, file_format="jsonl", access=SCRIPT)
    chats = exported_chats("".join(chunks))
    return {chat.exported.id: chat for chat in chats if chat.exported is not None}


def check_stored_as_exported(
    chat: Chat, drafts: Sequence[MessageDraft], stored: Chat | None
) -> None:
    """Raise Conflict, naming the field, unless it is stored just so; None for one that has another
    number of messages."""
    if stored is None or len(stored.messages) != len(drafts):
        raise Conflict(STORED_DIFFERS, field="messages")
    field = next(_differences(chat, drafts, stored), None)
    if field is not None:
        raise Conflict(STORED_DIFFERS, field=field)


def _differences(chat: Chat, drafts: Sequence[MessageDraft], stored: Chat) -> Iterator[str]:
    """The paths of values that differ."""
    yield from (_PATHS.get(name, name) for name in _differing(_OF_CHATS, chat, stored))
    for index, pair in enumerate(zip(drafts, as_imported(stored), strict=True)):
        yield from (f"messages.{index}.{name}" for name in _differing(_OF_MESSAGES, *pair))
    assert chat.exported is not None
    assert stored.exported is not None
    yield from _differing(["source"], chat.exported, stored.exported)
    for index, (sequence, reviews) in enumerate(_places(stored.exported)):
        given = chat.exported.sequences[index], chat.exported.reviews[index]
        if given[0] != sequence:
            yield f"messages.{index}.sequence"
        if given[1] != reviews:
            yield f"messages.{index}.reviews"


def _places(exported: AsExported) -> Iterator[tuple[int, tuple[RecordedReview, ...]]]:
    return zip(exported.sequences, exported.reviews, strict=True)


def _differing(names: Sequence[str], one: object, other: object) -> Iterator[str]:
    return (name for name in names if _differ(getattr(one, name), getattr(other, name)))


def _differ(one: Any, other: Any) -> bool:
    """Python's 1 is also True and 1.0, which JSON tells apart."""
    if isinstance(one, dict | list) and isinstance(other, dict | list):
        return _sorted_text(one) != _sorted_text(other)
    return bool(one != other)


def _sorted_text(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of(chat: Chat, drafts: Sequence[MessageDraft]) -> bytes:
    """Of all that `check_stored_as_exported` compares, and of the owner's name."""
    values: list[Any] = [getattr(chat, name) for name in (*_OF_CHATS, "owner", "exported")]
    return hashlib.sha256(repr([*values, *drafts]).encode()).digest()
