"""Asking, watching and stopping a turn: what the API and the terminal chat do with one."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q

from conversations.chat.errors import NotConfigured
from conversations.chat.llm.providers import Provider, provider_named
from conversations.chat.llm.tools import tool_names
from conversations.chat.question import OPTIONS, Question
from conversations.chat.runtime.live_turn import LiveTurn
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.db import replicas
from conversations.models import AccessAction, AccessContext, Message, Role
from conversations.models.turn import Turn
from conversations.selectors.turn_log import (
    find_message,
    find_turn,
    question_of,
)
from conversations.services import InvalidValue, NotAllowed, NotFound, owner_of
from conversations.services.abandoned_turns import interrupt_abandoned
from conversations.services.audit import note_write
from conversations.services.begin_turn import begin_again, begin_turn
from conversations.services.errors import NO_SUCH_CONVERSATION, NoQuestion
from conversations.services.turns import request_stop
from conversations.services.unstored_turns import begin_unstored_turn

NO_SUCH_TURN = "No such answer."
FOR_TRUSTED = "Only a trusted client may send this field here."
NOT_WITHOUT_STORE = "Not with `store: false`, of which nothing is kept."
WHICH_CONVERSATION = "Required with `parent_id`: the conversation of that message."
NOT_IN_CONVERSATION = "The answer is in another conversation. This field may be left out."
NOT_AN_ANSWER = "This message is no answer. Name one with the role `assistant`."
UNKNOWN_TOOL = "There is no tool {name}. Configured: {known}."
NO_MODEL = "The provider {name} has no default model: name one in `model`."


def ask(
    *,
    access: AccessContext,
    question: Question,
    metadata: dict[str, Any] | None = None,
    owner: User | None = None,
    conversation_id: uuid.UUID | None = None,
    provider: str | None = None,
    model: str | None = None,
    key: str | None = None,
    store: bool = True,
) -> WatchedTurn:
    """Store the question, begin the turn in the background, and return it at once.

    `metadata` is that of the question's message, whose `extra` keeps the options of the question.
    `owner` is whose conversation it is, or is to be; None is the caller's own, or whoever's
    conversation is named. An act of staff on another user's conversation is recorded.
    `key` makes the call repeatable: an equal one later watches the same turn. Without `store`
    nothing is kept but the turn's counts, and it ends when its client leaves. Raises
    NotConfigured, InvalidValue, NotFound, NotAllowed, KeyReused, TurnRunning.
    """
    found, wanted = _provider_and_model(provider, model)
    _check_options(access, question, metadata, store)
    _check_tools(question)
    if not store:
        place = {"conversation_id": conversation_id, "parent_id": question.parent}
        _check_unstored(**place, metadata=metadata, key=key)
    if isinstance(question.parent, uuid.UUID) and conversation_id is None:
        raise InvalidValue(WHICH_CONVERSATION, field="conversation_id", code="required")
    asked: dict[str, Any] = {
        "owner": owner_to_ask_for(access, owner, conversation_id),
        "content": question.text,
        "parts": question.parts,
        "extra": question.as_extra(),
        "provider": found.name,
        "model": wanted,
    }
    if not store:
        return _watched(begin_unstored_turn(**asked), True, found, question)
    turn, created = begin_turn(
        **asked,
        conversation_id=conversation_id,
        parent=question.parent,
        metadata=metadata,
        key=key,
        runner=runner().name,
        is_dead=is_dead,
    )
    return _watched(turn, created, found, question)


def regenerate(
    *,
    access: AccessContext,
    question: Question,
    owner: User | None = None,
    conversation_id: uuid.UUID | None = None,
    provider: str | None = None,
    model: str | None = None,
    key: str | None = None,
    store: bool = True,
) -> WatchedTurn:
    """Give an answer again: the same question, and a sibling of the first message of its turn.

    `question.regenerate` names any message of the answer, `question` has the options of this turn
    and no text. Without `provider` and `model` they are those of the answer, or the default where
    its provider is not configured. The rest is as for `ask`; also raises NoQuestion.
    """
    assert question.regenerate is not None
    answer = _message_named(access, question.regenerate, conversation_id)
    found, wanted = _provider_and_model(provider, model, answer)
    _check_options(access, question, None, store)
    _check_tools(question)
    if not store:
        _check_unstored(regenerate=question.regenerate)
    holder = owner_to_ask_for(access, owner, answer.conversation_id)
    if answer.role != Role.ASSISTANT:
        raise InvalidValue(NOT_AN_ANSWER, field="regenerate", code="not_an_answer")
    asked = question_of(answer)
    if asked is None:
        raise NoQuestion
    parent_id, stored = asked
    if stored.emptied_at is not None:
        raise NoQuestion
    turn, created = begin_again(
        owner=holder,
        conversation_id=answer.conversation_id,
        question_id=stored.id,
        parent_id=parent_id,
        provider=found.name,
        model=wanted,
        extra=question.as_extra() or {},
        key=key,
        runner=runner().name,
        is_dead=is_dead,
    )
    return _watched(turn, created, found, replace(question, text=stored.content))


def _watched(turn: Turn, created: bool, provider: Provider, question: Question) -> WatchedTurn:
    if not created:
        return runner().watch(turn)
    live = LiveTurn(turn, provider, question)
    runner().start(live)
    return live


def _provider_and_model(
    name: str | None, model: str | None, answer: Message | None = None
) -> tuple[Provider, str]:
    """Those of a request, which may ask for another answer than an earlier one."""
    found = None
    if answer is not None and answer.provider and name is None:
        with suppress(NotConfigured, InvalidValue):
            found = provider_named(answer.provider)
            model = model or answer.model
    found = found or provider_named(name)
    wanted = model or found.model
    if not wanted:
        raise InvalidValue(NO_MODEL.format(name=found.name), field="model", code="required")
    return found, wanted


def _message_named(
    access: AccessContext, message_id: uuid.UUID, conversation_id: uuid.UUID | None
) -> Message:
    """Of which `regenerate` is the id. Raises InvalidValue, NotFound."""
    named = Q(id=message_id)
    there = named if conversation_id is None else named & Q(conversation_id=conversation_id)
    message = find_message(there, access=access)
    if message is None and find_message(named, access=access) is not None:
        raise InvalidValue(NOT_IN_CONVERSATION, field="conversation_id", code="mismatch")
    if message is None:
        raise NotFound(NO_SUCH_TURN, field="regenerate")
    return message


def _check_options(
    access: AccessContext, question: Question, metadata: dict[str, Any] | None, store: bool
) -> None:
    """Raise NotAllowed for an option that is kept for trusted clients."""
    if access.caller is None or access.caller.trusted:
        return
    given = {name: getattr(question, name) for name in ("parts", *OPTIONS)}
    given |= {"metadata": metadata, "store": None if store else store}
    for name, value in given.items():
        if value is not None and name not in settings.CHAT_PERSONAL_OPTIONS:
            raise NotAllowed(FOR_TRUSTED, field=name)


def _check_unstored(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            field = "Idempotency-Key" if name == "key" else name
            raise InvalidValue(NOT_WITHOUT_STORE, field=field, code="not_stored")


def _check_tools(question: Question) -> None:
    """Raise InvalidValue for a name that no configured tool has."""
    if not question.tools:
        return
    known = tool_names()
    if settings.CHAT_MCP_SERVERS and not set(question.tools) <= set(known):
        known += runner().mcp_tool_names()
    for index, name in enumerate(question.tools):
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            text = UNKNOWN_TOOL.format(name=name[:100], known=names)
            raise InvalidValue(text, field=f"tools.{index}", code="unknown_tool")


def owner_to_ask_for(
    access: AccessContext, named: User | None, conversation_id: uuid.UUID | None
) -> User:
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
