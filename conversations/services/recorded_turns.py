"""Turns of model calls that are recorded: which conversation a call belongs to, and what of the
history that its client sends is new.

Every client of a chat API sends the whole history each time. What is stored of it stays as it is:
the new end of it is appended, as a branch where the client has edited a message or asks for another
answer.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.formats.drafts import NO_MESSAGES, with_parts_if_empty
from conversations.formats.sent_messages import INSTRUCTIONS, StoredMessage, asked
from conversations.models import Message, Role, Status
from conversations.models.branch_path import FIRST_LINE, number_of
from conversations.models.turn import Turn
from conversations.models.turn_ids import (
    question_id,
    recorded_conversation_id,
    recorded_turn_id,
)
from conversations.selectors.turn_log import question_id_of, read_turn
from conversations.services.abandoned_turns import IsDead, interrupt_abandoned
from conversations.services.begin_turn import append_turn, empty_answer
from conversations.services.branch_placement import Parent
from conversations.services.conversation_values import check_external_id
from conversations.services.conversations import create_conversation
from conversations.services.errors import (
    NO_SUCH_CONVERSATION,
    InvalidValue,
    KeyReused,
    NotFound,
    TurnRunning,
)
from conversations.services.locked_conversation import (
    LockedConversation,
    lock_by_external_id,
    lock_by_id,
)
from conversations.services.resent_history import Found, find_stored
from conversations.services.titles import title_from
from conversations.services.unnamed_chats import find_unnamed, texts_of_question
from conversations.services.validators import check_text

ANOTHER_REQUEST = "This Idempotency-Key is already in use for another request."
# In the `extra` of the question, or of the answer where there is no new question: what a model was
# shown otherwise than the path says.
REQUEST = "request"
# There too, of a request with a key.
_DIGEST = "digest"
_DIGESTED = ("role", "content", "parts", "tool_calls", "tool_call_id", "name", "extra")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedChat:
    """How a request says which conversation it is about.

    By the id of a conversation of ours, by the application's own name for it, or by neither: then
    its messages tell. `is_retry` says that the client sends the request again that has failed.
    """

    conversation_id: uuid.UUID | None = None
    name: str | None = None
    is_retry: bool = False

    @property
    def is_unnamed(self) -> bool:
        return self.conversation_id is None and self.name is None


def begin_recorded_turn(
    *,
    owner: User,
    chat: NamedChat,
    drafts: Sequence[MessageDraft],
    provider: str,
    model: str,
    extra: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
    runner: str = "",
    is_dead: IsDead = lambda runner: False,
) -> tuple[Turn, bool]:
    """Store what is new in this history and the empty answer after it, before the model is asked.

    `drafts` is the whole history as the client has sent it. Where it continues what is stored, its
    end is appended; where it ends in a stored message, another answer follows that, and no message
    is stored twice; where it differs, the rest is another branch. A conversation that the owner
    does not have yet under the application's name is created.

    Instructions (`system`, `developer`) are stored where the conversation begins and where they
    come with something new. Others are no difference: if they are not those that are stored, their
    text is `request.system` in the `extra` of the new question, or of the answer where there is
    none. `request.trimmed` says there that the client has left out messages of the path.

    `extra` and `metadata` are those of the answer. The flag is False where an equal request with
    this `key`, which is one of the owner's, began the turn before. Raises InvalidValue with the
    path of the value (`messages.3.content`), NotFound, KeyReused, Deleted, and TurnRunning where
    the history goes on after an answer that still runs.
    """
    if not drafts:
        raise InvalidValue(NO_MESSAGES, field="messages", code="empty")
    for index, draft in enumerate(drafts):
        check_text(f"messages.{index}.content", draft.content)
    answer = empty_answer(provider, model, runner)
    answer.extra, answer.metadata = extra, metadata or {}
    if key is not None:
        answer.id = recorded_turn_id(owner.pk, key)
        answer.extra = _with_request(extra, {_DIGEST: _digest(drafts, answer)})
    try:
        return _begin(owner, chat, drafts, answer, key, is_dead)
    except (IntegrityError, KeyReused, TurnRunning):
        # An equal request may have come first by a moment.
        if turn := _begun_before(owner, answer, is_dead):
            return turn, False
        raise


def _begin(
    owner: User,
    chat: NamedChat,
    drafts: Sequence[MessageDraft],
    answer: MessageDraft,
    key: str | None,
    is_dead: IsDead,
) -> tuple[Turn, bool]:
    history = [draft for draft in drafts if draft.role not in INSTRUCTIONS]
    if chat.name is not None:
        check_external_id(chat.name)
    with transaction.atomic():
        conversation, found = _located(owner, chat, history) or _created(
            owner, chat, drafts, history, answer.model, key
        )
        # Only now: the first of equal requests has had the lock of the conversation.
        if turn := _begun_before(owner, answer, is_dead):
            return turn, False
        if conversation.has_running and interrupt_abandoned(
            owner_id=owner.pk, conversation_id=conversation.id, is_dead=is_dead
        ):
            found = find_stored(conversation, history)
        start, follows = _place(found, drafts)
        rest = [with_parts_if_empty(replace(draft)) for draft in drafts[start:]]
        questions = [at for at, draft in enumerate(rest) if draft.role == Role.USER]
        noted = rest[questions[-1]] if questions else answer
        if questions and chat.is_unnamed:
            texts = texts_of_question(drafts, start + questions[-1])
            noted.id = question_id(owner.pk, *texts, timezone.now())
        noted.extra = _with_request(noted.extra, _difference(found, follows, drafts[:start]))
        parent = _parent(conversation, found, follows)
        turn = _append(owner, conversation.id, [*rest, answer], parent, start)
    if not questions:
        turn.user_message_id = _question_before(found)
    return turn, True


def _located(
    owner: User, chat: NamedChat, history: Sequence[MessageDraft]
) -> tuple[LockedConversation, Found] | None:
    """The conversation, locked until the end of the transaction, and what it holds of the history;
    None where there is none yet. Raises NotFound for one of ours that is not there."""
    if chat.conversation_id is not None:
        conversation = lock_by_id(owner.pk, chat.conversation_id)
        if conversation is None:
            raise NotFound(NO_SUCH_CONVERSATION)
    elif chat.name is not None:
        conversation = lock_by_external_id(owner.pk, chat.name) or _of_ours(owner, chat.name)
    else:
        return find_unnamed(owner.pk, history, is_retry=chat.is_retry)
    return (conversation, find_stored(conversation, history)) if conversation else None


def _of_ours(owner: User, name: str) -> LockedConversation | None:
    """An application may keep the id of a conversation of ours as its own name."""
    try:
        return lock_by_id(owner.pk, uuid.UUID(name))
    except ValueError:
        return None


def _created(
    owner: User,
    chat: NamedChat,
    drafts: Sequence[MessageDraft],
    history: Sequence[MessageDraft],
    model: str,
    key: str | None,
) -> tuple[LockedConversation, Found]:
    """A new conversation, or the one that a request at the same moment has created."""
    conversation, created = create_conversation(
        owner=owner,
        title=_title(drafts),
        model_used=model,
        external_id=chat.name,
        id=recorded_conversation_id(owner.pk, key) if key and chat.is_unnamed else None,
        source="v1",
        field_of_id="Idempotency-Key",
    )
    if created:
        return LockedConversation(conversation.pk, owner.pk, 0, 0, FIRST_LINE), Found()
    locked = lock_by_id(owner.pk, conversation.pk)
    if locked is None:
        raise NotFound(NO_SUCH_CONVERSATION)
    return locked, find_stored(locked, history)


def _title(drafts: Sequence[MessageDraft]) -> str | None:
    """Where the first question has something before it; else the append finds the same one."""
    questions = (draft for draft in drafts if draft.role == Role.USER and draft.content)
    first = next(questions, None)
    if first is None or (text := asked(first.content)) == first.content:
        return None
    return title_from([replace(first, content=text)])


def _place(found: Found, drafts: Sequence[MessageDraft]) -> tuple[int, StoredMessage | None]:
    """From which draft on they are new, and the stored message that they follow, or the answer if
    none is new. Raises TurnRunning where that is an answer that still runs."""
    if not found.steps and found.ends:
        return 0, None
    start = _index_after(drafts, found.count)
    follows, rest, after = found.last, drafts[start:], found.instructions_after
    end = found.steps[-1] if found.steps else None
    if all(draft.role in INSTRUCTIONS for draft in rest):
        if rest and [draft.content for draft in rest] == [row.content for row in after]:
            start, follows = len(drafts), after[-1]
    elif end and found.ends and (end.is_sent or end.row.status != Status.STREAMING):
        follows = end.row
    if follows is None and after:
        follows = after[-1]
    if follows and follows.status == Status.STREAMING:
        raise TurnRunning
    return start, follows


def _index_after(drafts: Sequence[MessageDraft], count: int) -> int:
    """The index after so many messages that are no instructions; for none the first of them."""
    at = [index for index, draft in enumerate(drafts) if draft.role not in INSTRUCTIONS]
    if count:
        return at[count - 1] + 1
    return at[0] if at else len(drafts)


def _parent(
    conversation: LockedConversation, found: Found, follows: StoredMessage | None
) -> Parent:
    if follows is None:
        return "root" if found.steps or not found.ends else None
    is_active = number_of(follows.branch) == conversation.active_branch
    is_end = found.ends and follows is found.steps[-1].row
    return None if is_active and is_end else follows.id


def _difference(
    found: Found, follows: StoredMessage | None, known: Sequence[MessageDraft]
) -> dict[str, Any]:
    """What the model is shown otherwise than the path up to `follows` says; `known` are the
    messages that are not stored again."""
    difference: dict[str, Any] = {"trimmed": True} if found.omits else {}
    shown = [draft.content for draft in known if draft.role in INSTRUCTIONS]
    until = follows.sequence if follows else 0
    rows = (step.row for step in found.steps if step.row.sequence <= until)
    stored = [row for row in rows if row.role in INSTRUCTIONS]
    if shown != [row.content for row in stored] and not any(row.is_emptied for row in stored):
        difference["system"] = "\n\n".join(shown)
    return difference


def _question_before(found: Found) -> uuid.UUID | None:
    rows = [row for row in found.sent_again if row.role == Role.USER]
    return rows[-1].id if rows else None


def _append(
    owner: User,
    conversation_id: uuid.UUID,
    drafts: list[MessageDraft],
    parent: Parent,
    start: int,
) -> Turn:
    """`start` is the index of the first of the drafts among those of the request."""
    try:
        return append_turn(owner, conversation_id, drafts, parent, beside=True)
    except InvalidValue as error:
        place, _, name = (error.field or "").removeprefix("messages.").partition(".")
        if place.isdigit():
            error.field = f"messages.{start + int(place)}.{name}"
        raise


def _begun_before(owner: User, answer: MessageDraft, is_dead: IsDead) -> Turn | None:
    """The turn that an equal request with this key began; KeyReused when it asked otherwise."""
    if answer.id is None:
        return None
    rows = Message.objects.filter(user_id=owner.pk, id=answer.id)
    stored = rows.values_list("conversation_id", "extra").first()
    if stored is None:
        return None
    conversation_id, extra = stored
    if _request_of(extra).get(_DIGEST) != _request_of(answer.extra)[_DIGEST]:
        raise KeyReused(ANOTHER_REQUEST, field="Idempotency-Key")
    interrupt_abandoned(owner_id=owner.pk, conversation_id=conversation_id, is_dead=is_dead)
    turn = read_turn((owner.pk, conversation_id, answer.id))
    return turn and replace(turn, user_message_id=question_id_of(turn))


def _request_of(extra: dict[str, Any] | None) -> dict[str, Any]:
    said = (extra or {}).get(REQUEST)
    return said if isinstance(said, dict) else {}


def _with_request(extra: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any] | None:
    return (extra or {}) | {REQUEST: _request_of(extra) | more} if more else extra


def _digest(drafts: Sequence[MessageDraft], answer: MessageDraft) -> str:
    """Of the whole request: a repeated one has to be equal."""
    sent = [[getattr(draft, name) for name in _DIGESTED] for draft in drafts]
    request = [sent, answer.provider, answer.model, answer.extra, answer.metadata]
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
