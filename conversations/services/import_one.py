"""Import one conversation by itself: checked, compared with what is stored, or stored.

`imports.py` stores many at once, and uses this for what does not go along with others.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from conversations.db.bulk_rows import Row
from conversations.formats import Chat, MessageDraft
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
from conversations.services.drafts import check_drafts
from conversations.services.errors import Conflict, Deleted, InvalidValue
from conversations.services.import_additions import (
    STORED_COLUMNS,
    add_to_stored,
    forms_of,
    is_same,
    names_of,
)
from conversations.services.imported_trees import (
    first_difference_of_trees,
    import_key,
    message_id,
    parents_of,
    show_active,
)
from conversations.services.validators import check_json, check_text


class Added(NamedTuple):
    """What an import has stored of a conversation: all of it, if it is `new`, or what was not there
    yet."""

    new: bool
    messages: Sequence[MessageDraft]


ALREADY_STORED = Added(False, ())


def ids_of(chat: Chat, owner_id: int, source: str) -> list[uuid.UUID]:
    """The id of the conversation, and those under which earlier releases imported it: without the
    installation's secret, or by the hash of another form of it."""
    keys = [f"{source}:{form.key}" for form in (chat, chat.earlier) if form is not None]
    ids = [make(owner_id, key) for key in keys for make in (id_from_key, derived_id)]
    return list(dict.fromkeys(ids))


def as_imported(chat: Chat) -> list[MessageDraft]:
    """Its messages as they are stored."""
    return [_interrupted_if_streaming(message) for message in chat.messages]


def _interrupted_if_streaming(draft: MessageDraft) -> MessageDraft:
    """An answer that was streaming at its export is interrupted: no process here runs it."""
    if draft.status != Status.STREAMING:
        return draft
    columns: dict[str, Any] = INTERRUPTED_COLUMNS
    return replace(draft, **columns)


def check_chat(chat: Chat, drafts: Sequence[MessageDraft]) -> None:
    """Raise InvalidValue, naming the field, unless the conversation can be stored.

    All messages at once: the key may be a hash of them, and in a batch of an append the index in
    the field of an error would start at that batch.
    """
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
    check_drafts(list(drafts), from_client=False)


def new_conversation(
    chat: Chat, conversation_id: uuid.UUID, owner_id: int, source: str
) -> Conversation:
    """As it is before its first message."""
    first_created_at = next((message.created_at for message in chat.messages), None)
    created_at = chat.created_at or first_created_at or timezone.now()
    return Conversation(
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


def store_alone(
    chat: Chat, drafts: list[MessageDraft], ids: Sequence[uuid.UUID], owner_id: int, source: str
) -> Added:
    """Store a checked conversation in a transaction of its own, by the functions that append, or
    what it has beyond the stored one.

    `ids` are those of `ids_of`. Raises ServiceError, and IntegrityError if the owner is erased
    meanwhile.
    """
    conversation_id, *earlier_ids = ids
    stored = Conversation.objects.owned_by(owner_id).filter(pk__in=earlier_ids)
    if earlier_id := stored.values_list("pk", flat=True).first():
        conversation_id = earlier_id
    elif Tombstone.objects.filter(id__in=ids, user_id=owner_id).exists():
        raise Deleted(DELETED_CONVERSATION)
    else:
        with transaction.atomic():
            if insert_conversation(new_conversation(chat, conversation_id, owner_id, source)):
                _append(owner_id, conversation_id, chat, drafts)
                return Added(True, drafts)
    if chat.external_id is not None:
        _check_external_id_free(owner_id, conversation_id, chat.external_id)
    if has_all(owner_id, conversation_id, chat, drafts):
        return ALREADY_STORED
    return Added(False, add_to_stored(owner_id, conversation_id, chat, drafts))


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


def has_all(
    owner_id: int,
    conversation_id: uuid.UUID,
    chat: Chat,
    drafts: Sequence[MessageDraft],
    stored: Sequence[Row] | None = None,
) -> bool:
    """Whether the stored conversation begins with these messages, as they are read now or as they
    were by earlier releases, each after the same message. If not, it may yet have them.

    `stored` are its messages, if the caller has read them.
    """
    if stored is None:
        messages = Message.objects.of(owner_id, conversation_id).in_order()
        stored = list(messages.values(*STORED_COLUMNS)[: len(drafts)])
    stored = stored[: len(drafts)]
    if len(stored) < len(drafts):
        return False
    names = names_of(drafts)
    for index, row in enumerate(stored):
        emptied = row["emptied_at"] and row["id"] == message_id(conversation_id, index)
        if not emptied and not is_same(row, names[index], forms_of(chat, drafts, index)):
            return False
    return first_difference_of_trees(owner_id, conversation_id, chat, stored) is None
