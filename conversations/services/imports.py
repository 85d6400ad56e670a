"""Import whole conversations, idempotently."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations.db import replicas
from conversations.formats import RECORDED_FIELDS, Chat, MessageDraft, Rejected
from conversations.models import (
    DEFAULT_TITLE,
    Conversation,
    Message,
    Status,
    Tombstone,
    derived_id,
    id_from_key,
)
from conversations.models.interrupted import INTERRUPTED_COLUMNS
from conversations.services.appending import MAX_BATCH, append_drafts
from conversations.services.audit import SCRIPT
from conversations.services.conversation_values import (
    LONG_TEXT,
    check_external_id,
    checked_tags,
)
from conversations.services.conversations import (
    DELETED_CONVERSATION,
    TAKEN_EXTERNAL_ID,
    insert_conversation,
)
from conversations.services.database_errors import not_found_from
from conversations.services.drafts import check_drafts, first_difference
from conversations.services.errors import Conflict, Deleted, InvalidValue, ServiceError
from conversations.services.imported_trees import (
    first_difference_of_trees,
    import_key,
    parents_of,
    show_active,
)
from conversations.services.validators import check_json, check_text

STORED_DIFFERS = "The conversation stored under this id has another value here."
STORED_IS_SHORTER = (
    "The conversation stored under this id has only {stored:,} of these {given:,} messages."
)

# The immutable columns of a message; metadata and ratings may be changed after the import.
_COMPARED = tuple(
    name
    for name in RECORDED_FIELDS
    if name not in {"metadata", "rating", "rating_comment", "created_at"}
)


@dataclass(slots=True)
class ImportReport:
    """Counts of conversations by result; `messages` and `tool_calls` count those created."""

    read: int = 0
    created: int = 0
    already_there: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    messages: int = 0
    tool_calls: int = 0


def import_conversations(
    *,
    chats: Iterable[Chat | Rejected],
    owner_id: int,
    source: str,
    on_progress: Callable[[ImportReport], None] | None = None,
) -> ImportReport:
    """Store each conversation, whole or not at all, in its own transaction.

    `source` ("import:openai") is stored; owner, source and the key of a conversation determine its
    id, so that a repeated import finds the stored rows. These are not changed: a conversation
    counts as already stored if the stored one begins with the same messages (title and metadata may
    have changed since), else it is rejected. `chats` is consumed one by one; `on_progress` is
    called after each.
    """
    report = ImportReport()
    for chat in chats:
        report.read += 1
        _import_one(chat, owner_id, source, report)
        if on_progress is not None:
            on_progress(report)
    replicas.keep_written(owner_id)
    return report


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction that is always rolled back, for a dry run."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _import_one(chat: Chat | Rejected, owner_id: int, source: str, report: ImportReport) -> None:
    if isinstance(chat, Rejected):
        report.rejected.append(chat)
        return
    drafts = [_interrupted_if_streaming(message) for message in chat.messages]
    try:
        created = _store(chat, drafts, owner_id, source)
    except (ServiceError, IntegrityError) as error:
        refusal = error if isinstance(error, ServiceError) else not_found_from(error)
        if refusal is None:
            raise
        report.rejected.append(Rejected.at(chat.line, refusal.field, refusal.detail))
        return
    if created:
        report.created += 1
        report.messages += len(drafts)
        report.tool_calls += sum(len(draft.tool_calls or ()) for draft in drafts)
    else:
        report.already_there += 1


def _interrupted_if_streaming(draft: MessageDraft) -> MessageDraft:
    """An answer that was streaming at its export is interrupted: no process here runs it."""
    if draft.status != Status.STREAMING:
        return draft
    columns: dict[str, Any] = INTERRUPTED_COLUMNS
    return replace(draft, **columns)


def _store(chat: Chat, drafts: list[MessageDraft], owner_id: int, source: str) -> bool:
    """True if stored now, False if it was stored before. Raises ServiceError."""
    # All messages at once: the key may be a hash of them, and in a later batch the index in the
    # field of an error would start at that batch.
    _check(chat, drafts)
    conversation_id, *earlier_ids = _ids_of(chat, owner_id, source)
    stored = Conversation.objects.owned_by(owner_id).filter(pk__in=earlier_ids)
    if earlier_id := stored.values_list("pk", flat=True).first():
        conversation_id = earlier_id
    elif Tombstone.objects.filter(
        id__in=[conversation_id, *earlier_ids], user_id=owner_id
    ).exists():
        raise Deleted(DELETED_CONVERSATION)
    else:
        with transaction.atomic():
            if _insert_conversation(chat, conversation_id, owner_id, source):
                _append(owner_id, conversation_id, chat, drafts)
                return True
    if chat.external_id is not None:
        _check_external_id_free(owner_id, conversation_id, chat.external_id)
    _check_stored(owner_id, conversation_id, chat, drafts)
    return False


def _ids_of(chat: Chat, owner_id: int, source: str) -> list[uuid.UUID]:
    """The id of the conversation, and those under which earlier releases imported it: without the
    installation's secret, or by the hash of another form of it."""
    keys = [f"{source}:{form.key}" for form in (chat, chat.earlier) if form is not None]
    ids = [make(owner_id, key) for key in keys for make in (id_from_key, derived_id)]
    return list(dict.fromkeys(ids))


def _check(chat: Chat, drafts: list[MessageDraft]) -> None:
    for name, text, limit in [
        ("id", chat.file_id, None),
        ("title", chat.title, 255),
        ("model_used", chat.model_used, 255),
    ]:
        check_text(name, text or "")
        if limit and len(text or "") > limit:
            raise InvalidValue(LONG_TEXT, field=name, code="max_length")
    if chat.external_id is not None:
        check_external_id(chat.external_id)
    checked_tags(chat.tags)
    check_json("metadata", chat.metadata, max_bytes=settings.CHAT_MAX_METADATA_BYTES)
    check_drafts(drafts, from_client=False)


def _insert_conversation(
    chat: Chat, conversation_id: uuid.UUID, owner_id: int, source: str
) -> bool:
    """Insert the conversation without messages; False if its id exists, or its external id."""
    first_created_at = next((message.created_at for message in chat.messages), None)
    created_at = chat.created_at or first_created_at or timezone.now()
    conversation = Conversation(
        id=conversation_id,
        user_id=owner_id,
        title=chat.title or DEFAULT_TITLE,
        model_used=chat.model_used,
        metadata=chat.metadata,
        external_id=chat.external_id,
        tags=checked_tags(chat.tags),
        pinned=chat.pinned,
        archived_at=chat.archived_at,
        source=source,
        created_at=created_at,
        updated_at=chat.updated_at or created_at,
    )
    return insert_conversation(conversation)


def _check_external_id_free(owner_id: int, conversation_id: uuid.UUID, external_id: str) -> None:
    """Raise Conflict if another conversation of the owner has it."""
    others = Conversation.objects.owned_by(owner_id).exclude(pk=conversation_id)
    if others.filter(external_id=external_id).exists():
        raise Conflict(TAKEN_EXTERNAL_ID, field="external_id")


def _append(
    owner_id: int, conversation_id: uuid.UUID, chat: Chat, drafts: list[MessageDraft]
) -> None:
    parents = parents_of(conversation_id, chat)
    for start in range(0, len(drafts), MAX_BATCH):
        batch = slice(start, start + MAX_BATCH)
        try:
            append_drafts(
                conversation_id=conversation_id,
                owner_id=owner_id,
                access=SCRIPT,
                drafts=drafts[batch],
                key=import_key(start),
                from_client=False,
                parents=parents[batch],
            )
        except InvalidValue as error:  # too many branches; the index in its field is the batch's
            raise InvalidValue(error.detail, field="messages", code=error.code) from None
    if chat.parents:
        show_active(owner_id, conversation_id, chat)


def _check_stored(
    owner_id: int, conversation_id: uuid.UUID, chat: Chat, drafts: list[MessageDraft]
) -> None:
    """Raise Conflict unless the stored conversation begins with these messages, as they are read
    now or as they were by earlier releases, each after the same message."""
    stored = list(
        Message.objects.of(owner_id, conversation_id)
        .in_order()
        .values("id", "sequence", "branch", *RECORDED_FIELDS, "updated_at")[: len(drafts)]
    )
    befores = chat.earlier.messages if chat.earlier else drafts
    for index, (row, *forms) in enumerate(zip(stored, drafts, befores, strict=False)):
        changed = [first_difference(row, form, _COMPARED) for form in forms]
        if all(changed):
            raise Conflict(STORED_DIFFERS, field=f"messages.{index}.{changed[0]}")
    if difference := first_difference_of_trees(owner_id, conversation_id, chat, stored):
        raise Conflict(STORED_DIFFERS, field=difference)
    if len(stored) < len(drafts):
        text = STORED_IS_SHORTER.format(stored=len(stored), given=len(drafts))
        raise Conflict(text, field="messages")
