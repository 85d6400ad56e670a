"""Asking, watching and stopping a turn: what the API and the terminal chat do with one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.contrib.auth.models import User
from django.db import connection

from conversations.chat.events import NOWHERE, Event, Position
from conversations.chat.llm.providers import Provider, provider_named
from conversations.chat.runtime.live_turn import LiveTurn, Watched
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.state import TurnState
from conversations.models import AccessAction, AccessContext
from conversations.selectors.turn_log import StoredTurn, find_turn, question_before, read_turn
from conversations.services import InvalidValue, NotFound, owner_of
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.errors import NO_SUCH_CONVERSATION
from conversations.services.turns import (
    Begun,
    Question,
    begin_turn,
    request_stop,
)

NO_SUCH_TURN = "No such answer."
NO_MODEL = "The provider {name} has no default model: name one in `model`."


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn that runs, or ran: `created` is False for an earlier, equal request's."""

    watched: Watched
    turn_id: uuid.UUID
    conversation_id: uuid.UUID
    created: bool

    @property
    def retry_after(self) -> int | None:
        return self.watched.retry_after if isinstance(self.watched, LiveTurn) else None


def ask(
    *,
    access: AccessContext,
    message: str,
    owner: User | None = None,
    conversation_id: uuid.UUID | None = None,
    provider: str | None = None,
    model: str | None = None,
    key: str | None = None,
) -> Asked:
    """Store the question, begin the turn in the background, and return it at once.

    `owner` is whose conversation it is, or is to be; None is the caller's own, or whoever's
    conversation is named. An act of staff in somebody else's leaves its AccessRecord.
    `key` makes the call repeatable: an equal one later watches the same turn. This thread's
    database connection is closed: who waits for a model keeps none. Raises NotConfigured,
    UnknownProvider, InvalidValue, NotFound, NotAllowed, KeyReused, TurnRunning.
    """
    found = provider_named(provider)
    wanted = model or found.model
    if not wanted:
        raise InvalidValue(NO_MODEL.format(name=found.name), field="model", code="required")
    question = Question(
        owner=_owner(access, owner, conversation_id),
        content=message,
        provider=found.name,
        model=wanted,
        conversation_id=conversation_id,
        key=key,
        runner=runner().name,
        is_dead=is_dead,
    )
    begun = begin_turn(question)
    watched = _started(begun, found, message) if begun.created else _again(begun)
    release_connection()
    return Asked(watched, begun.turn.id, begun.turn.conversation_id, begun.created)


def _owner(access: AccessContext, named: User | None, conversation_id: uuid.UUID | None) -> User:
    """Whose conversation it is, or is to be. Raises NotFound, NotAllowed, ReasonRequired."""
    if conversation_id is not None:
        holder = owner_of(access, conversation_id, action=AccessAction.CHANGE)
        if named is not None and named != holder:
            raise NotFound(NO_SUCH_CONVERSATION)
        return holder
    if named is not None:
        return named
    assert access.caller is not None
    return access.caller.user


def _started(begun: Begun, provider: Provider, message: str) -> Watched:
    return runner().start(begun, provider, message.strip())


def _again(begun: Begun) -> Watched:
    turn = begun.turn
    interrupt_abandoned(conversation_id=turn.conversation_id, is_dead=is_dead)
    stored = read_turn((turn.conversation_id, turn.id))
    if stored is None:  # deleted just now
        raise NotFound(NO_SUCH_TURN)
    return runner().watch(replace(stored, user_message_id=turn.user_message_id))


def join(*, access: AccessContext, message_id: uuid.UUID) -> Watched:
    """A turn, running or not, to watch from any process. Raises NotFound, ReasonRequired.

    A staff member's look at somebody else's leaves an AccessRecord.
    """
    found = _find(access, message_id, AccessAction.READ)
    if found.last.status == "streaming" and runner().watch_live(found.name) is None:
        interrupt_abandoned(conversation_id=found.conversation_id, is_dead=is_dead)
        found = find_turn(message_id=message_id, access=access) or found
    return runner().watch(replace(found, user_message_id=question_before(found)))


def stop(*, access: AccessContext, message_id: uuid.UUID) -> StoredTurn:
    """Ask for the end of a turn, whichever process runs it. Raises NotFound, NotAllowed.

    The runner of this process ends it at once, another one within about a second. What came
    is kept; a turn that has ended stays as it is.
    """
    found = _find(access, message_id, AccessAction.CHANGE)
    runs = request_stop(conversation_id=found.conversation_id, message_id=found.id)
    if not runner().stop(found.name):
        runs &= not interrupt_abandoned(conversation_id=found.conversation_id, is_dead=is_dead)
    return found if runs else find_turn(message_id=message_id, access=access) or found


def events_of(
    watched: Watched, *, seen: Position = NOWHERE, idle_seconds: float = 15
) -> Iterator[Event | None]:
    """The events after `seen` until the end; None whenever nothing came for `idle_seconds`."""
    try:
        while True:
            found = watched.wait_for_events(seen, idle_seconds)
            if not found and watched.state.ended:
                return
            yield from found or (None,)
            if found:
                seen = found[-1].position
    finally:
        runner().leave(watched)


def result_of(watched: Watched) -> TurnState:
    """The turn at its end, waited for."""
    try:
        return watched.wait_for_end()
    finally:
        runner().leave(watched)


def release_connection() -> None:
    """Close this thread's database connection, unless a transaction is open in it."""
    if not connection.in_atomic_block:
        connection.close()


def _find(access: AccessContext, message_id: uuid.UUID, action: AccessAction) -> StoredTurn:
    found = find_turn(message_id=message_id, access=access)
    if found is None:
        raise NotFound(NO_SUCH_TURN)
    detail = {"message": str(message_id)}
    owner_of(access, found.conversation_id, action=action, detail=detail)
    return found
