"""Asking for a Response: where its input is stored, what the model is shown, and who answers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from conversations.chat.llm.providers import Provider
from conversations.chat.responses.asked import Asked
from conversations.chat.responses.chat_request import check_chat_request
from conversations.chat.responses.history import Context
from conversations.chat.responses.relayed_turn import RelayedTurn
from conversations.chat.responses.responding_turn import RespondingTurn
from conversations.chat.responses.response import REQUEST
from conversations.chat.responses.retries import input_before
from conversations.chat.responses.translated_turn import TranslatedTurn
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import owner_to_ask_for
from conversations.models import AccessContext, Message
from conversations.models.branch_path import ROOT, Path
from conversations.models.turn import Turn
from conversations.selectors.branches import Place, on_path, places_on, shown_path
from conversations.selectors.turn_log import find_turn
from conversations.services import InvalidValue, NotFound
from conversations.services.begin_turn import begin_turn_after
from conversations.services.errors import NO_SUCH_CONVERSATION
from conversations.services.recorded_turns import NamedChat, begin_recorded_turn
from conversations.services.unstored_turns import unstored_turn

UNNAMED = NamedChat()
NO_SUCH_RESPONSE = "Previous response with id '{name}' not found."
NOT_BOTH = "Mutually exclusive with `conversation`: send one of them."
NOT_IN_BACKGROUND = "A response in the background is stored: `store` may not be false."
NOT_WITHOUT_STORE = "Not with `store: false`, of which nothing is kept."


def respond(
    *,
    access: AccessContext,
    asked: Asked,
    provider: Provider,
    model: str,
    owner: User | None = None,
    key: str | None = None,
    chat: NamedChat = UNNAMED,
) -> tuple[WatchedTurn, bool]:
    """Store the input and the empty answer, begin the answer and return it at once.

    `owner` is whose conversation it is, or is to be; None is the caller, or whoever's conversation
    is named. With `key` an equal request that is repeated watches the same turn: the flag is then
    False. `chat` says which conversation it is whose whole history the items are, where the request
    follows none; and whether the client's library sends it again, since it got no answer. Raises
    InvalidValue, NotFound, NotAllowed, KeyReused, TurnRunning.
    """
    _check(asked, provider, key)
    holder, conversation_id, previous = _followed(access, owner, asked, chat)
    if not asked.stored:
        turn = unstored_turn(owner=holder, provider=provider.name, model=model)
        turn.created_at = timezone.now()
        context = _context(holder, conversation_id, previous)
        return _started(turn, provider, asked, context), True
    recorded: dict[str, Any] = {
        "owner": holder,
        "provider": provider.name,
        "model": model,
        "extra": {REQUEST: asked.kept()},
        "key": key,
        "runner": runner().name,
        "is_dead": is_dead,
    }
    if conversation_id is None:
        turn, created = begin_recorded_turn(chat=chat, drafts=asked.messages, **recorded)
        context = None
    else:
        turn, created, context = _begin_after(
            asked, conversation_id, previous, recorded, is_retry=chat.is_retry
        )
    if not created:
        return runner().watch(turn), False
    return _started(turn, provider, asked, context), True


def _begin_after(
    asked: Asked,
    conversation_id: uuid.UUID,
    previous: Turn | None,
    recorded: dict[str, Any],
    *,
    is_retry: bool,
) -> tuple[Turn, bool, Context]:
    """Store the input in a conversation, unless it is there without an answer; with what the model
    is shown before it."""
    drafts, parent = asked.drafts, previous.last.message_id if previous else None
    stored = input_before(recorded["owner"], asked, conversation_id) if is_retry else None
    if stored is not None:
        drafts, parent = [], stored.last_id
    turn, created = begin_turn_after(
        conversation_id=conversation_id, parent=parent, drafts=drafts, **recorded
    )
    begins_at = stored.begins_at if stored else turn.place[1] - len(drafts)
    return turn, created, _before(turn, begins_at)


@dataclass(frozen=True, slots=True)
class Followed:
    """The path of an owner's conversation that a request follows; of none where its items are all
    that the model is shown."""

    owner_id: int
    conversation_id: uuid.UUID | None = None
    path: Path = ROOT

    def has(self, message_id: uuid.UUID) -> bool:
        """Whether the message is on the path."""
        if self.conversation_id is None:
            return False
        rows = Message.objects.of(self.owner_id, self.conversation_id).filter(id=message_id)
        return on_path(rows, self.path).exists()


def path_followed(
    access: AccessContext, asked: Asked, owner: User | None, chat: NamedChat
) -> Followed:
    """What a request goes on from. `owner` and `chat` are as for `respond`. Raises InvalidValue,
    NotFound, NotAllowed."""
    holder, conversation_id, previous = _followed(access, owner, asked, chat)
    if conversation_id is None:
        return Followed(holder.pk)
    shown = shown_path(holder.pk, conversation_id, previous.branch if previous else None)
    if shown is None:
        raise NotFound(NO_SUCH_CONVERSATION, field="conversation")
    return Followed(holder.pk, conversation_id, shown[1])


def _check(asked: Asked, provider: Provider, key: str | None) -> None:
    if asked.background and not asked.stored:
        raise InvalidValue(NOT_IN_BACKGROUND, field="store", code="invalid_value")
    if key is not None and not asked.stored:
        raise InvalidValue(NOT_WITHOUT_STORE, field="Idempotency-Key", code="not_stored")
    if not provider.responses:
        check_chat_request(asked.body)


def _followed(
    access: AccessContext, named: User | None, asked: Asked, chat: NamedChat
) -> tuple[User, uuid.UUID | None, Turn | None]:
    """Whose conversation it is, which, and the turn that the input follows."""
    previous, conversation_id = None, asked.conversation_id
    if asked.previous_id is not None:
        previous = _previous(access, named, asked)
        conversation_id = previous.conversation_id
    holder = owner_to_ask_for(access, named, conversation_id or chat.conversation_id)
    return holder, conversation_id, previous


def _previous(access: AccessContext, named: User | None, asked: Asked) -> Turn:
    if asked.conversation_id is not None:
        raise InvalidValue(NOT_BOTH, field="previous_response_id", code="mutually_exclusive")
    assert asked.previous_id is not None
    found = find_turn(message_id=asked.previous_id, access=access)
    if found is not None and (named is None or named.pk == found.owner_id):
        return found
    text = NO_SUCH_RESPONSE.format(name=asked.body.get("previous_response_id"))
    raise InvalidValue(text, field="previous_response_id", code="previous_response_not_found")


def _before(turn: Turn, begins_at: int) -> Context:
    """What the model is shown of a conversation before the input, which begins at a sequence."""
    place = turn.place[0], begins_at - 1
    return Context(owner_id=turn.owner_id, conversation_id=turn.conversation_id, place=place)


def _context(
    holder: User, conversation_id: uuid.UUID | None, previous: Turn | None
) -> Context | None:
    """The same for what is not stored."""
    if conversation_id is None:
        return None
    place = _end(holder, conversation_id) if previous is None else _place(previous)
    if place is None:
        return None
    return Context(owner_id=holder.pk, conversation_id=conversation_id, place=place)


def _place(turn: Turn) -> Place | None:
    rows = Message.objects.of(turn.owner_id, turn.conversation_id)
    last = rows.filter(id=turn.last.message_id)
    return last.values_list("branch", "sequence").first()


def _end(holder: User, conversation_id: uuid.UUID) -> Place | None:
    """The last message of the active branch."""
    shown = shown_path(holder.pk, conversation_id)
    if shown is None:
        raise NotFound(NO_SUCH_CONVERSATION, field="conversation")
    rows = Message.objects.of(holder.pk, conversation_id)
    found = places_on(rows, shown[1], descending=True, limit=1)
    return found[0] if found else None


def _started(
    turn: Turn, provider: Provider, asked: Asked, context: Context | None
) -> RespondingTurn:
    kind = RelayedTurn if provider.responses else TranslatedTurn
    live = kind(turn, provider, asked, context)
    runner().start(live)
    return live
