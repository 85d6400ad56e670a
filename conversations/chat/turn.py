"""Asking, watching and stopping a turn: what the API and the terminal chat do with one."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import User
from django.db import connection

from conversations.chat.llm.providers import provider_named
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.db import replicas
from conversations.models import AccessAction, AccessContext
from conversations.models.turn import Turn
from conversations.selectors.turn_log import find_turn
from conversations.services import InvalidValue, NotFound, owner_of
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.audit import note_write
from conversations.services.begin_turn import begin_turn
from conversations.services.errors import NO_SUCH_CONVERSATION
from conversations.services.turns import request_stop

NO_SUCH_TURN = "No such answer."
NO_MODEL = "The provider {name} has no default model: name one in `model`."


def ask(
    *,
    access: AccessContext,
    message: str,
    owner: User | None = None,
    conversation_id: uuid.UUID | None = None,
    provider: str | None = None,
    model: str | None = None,
    key: str | None = None,
) -> WatchedTurn:
    """Store the question, begin the turn in the background, and return it at once.

    `owner` is whose conversation it is, or is to be; None is the caller's own, or whoever's
    conversation is named. An act of staff on another user's conversation is recorded.
    `key` makes the call repeatable: an equal one later watches the same turn. This thread's
    database connection is closed: who waits for a model keeps none. Raises NotConfigured,
    InvalidValue, NotFound, NotAllowed, KeyReused, TurnRunning.
    """
    found = provider_named(provider)
    wanted = model or found.model
    if not wanted:
        raise InvalidValue(NO_MODEL.format(name=found.name), field="model", code="required")
    turn, created = begin_turn(
        owner=_owner(access, owner, conversation_id),
        content=message,
        provider=found.name,
        model=wanted,
        conversation_id=conversation_id,
        key=key,
        runner=runner().name,
        is_dead=is_dead,
    )
    watched = runner().start(turn, found, message) if created else runner().watch(turn)
    release_connection()
    return watched


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
    note_write(access, access.caller.user)
    return access.caller.user


def join(*, access: AccessContext, message_id: uuid.UUID) -> WatchedTurn:
    """A turn, running or not, to watch from any process. Raises NotFound, ReasonRequired.

    A staff member's access to another user's conversation is recorded.
    """
    found = _find(access, message_id, AccessAction.READ)
    if not found.ended and not runner().runs(found.pk):
        _interrupt_abandoned(found)
        found = find_turn(message_id=message_id, access=access) or found
    # Who hears of an end finds it, even where its process died before it kept the position.
    replicas.writes_of(found.owner_id)
    return runner().watch(found)


def stop(*, access: AccessContext, message_id: uuid.UUID) -> Turn:
    """Ask for the end of a turn, whichever process runs it. Raises NotFound, NotAllowed.

    The runner of this process ends it at once, another one within about a second. What came
    is kept; a turn that has ended stays as it is.
    """
    found = _find(access, message_id, AccessAction.CHANGE)
    runs = request_stop(found)
    if not runner().stop(found.pk):
        runs &= not _interrupt_abandoned(found)
    return found if runs else find_turn(message_id=message_id, access=access) or found


def release_connection() -> None:
    """Close this thread's database connection, unless a transaction is open in it."""
    if not connection.in_atomic_block:
        connection.close()


def _interrupt_abandoned(turn: Turn) -> bool:
    return interrupt_abandoned(
        owner_id=turn.owner_id, conversation_id=turn.conversation_id, is_dead=is_dead
    )


def _find(access: AccessContext, message_id: uuid.UUID, action: AccessAction) -> Turn:
    found = find_turn(message_id=message_id, access=access)
    if found is None:
        raise NotFound(NO_SUCH_TURN)
    detail = {"message": str(message_id)}
    owner_of(access, found.conversation_id, action=action, detail=detail)
    return found
