"""A chat completion: recorded, and asked for. What the API does with a client's request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.models import User

from conversations.chat.forwarding.forwarded_turn import ForwardedTurn, forward
from conversations.chat.forwarding.request import ChatRequest, options_of
from conversations.chat.llm.models import model_named
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.formats import Malformed, MessageDraft
from conversations.formats.sent_messages import sent_messages
from conversations.formats.task_calls import is_task_call
from conversations.models import Status
from conversations.models.turn import Turn
from conversations.services import InvalidValue
from conversations.services.recorded_turns import REQUEST, NamedChat, begin_recorded_turn
from conversations.services.unstored_turns import unstored_turn

# How often a request with a key may come to no whole answer before the last failure is its answer.
MAX_REPEATS = 5


def complete(
    *,
    owner: User,
    chat: NamedChat,
    body: dict[str, Any],
    task: str | None = None,
    key: str | None = None,
) -> tuple[WatchedTurn, bool]:
    """Store what is new in a request, and begin to ask the model for its answer.

    `body` is that of POST /v1/chat/completions. Of what a user interface asks for itself, such as
    titles, nothing is stored but counts; `task` says so, if the request does. The flag is False for
    an answer that an equal request with this `key` got before, or gets now: it is only watched, as
    the chunks are the other one's. Raises NotConfigured, InvalidValue, NotFound, KeyReused,
    Deleted, TurnRunning.
    """
    drafts = drafts_of(body["messages"])
    if is_task_call(drafts, task=task):
        return complete_unstored(owner=owner, body=body), True
    provider, model = model_named(body["model"])
    options = options_of(body)
    begin = partial(
        begin_recorded_turn,
        owner=owner,
        drafts=drafts,
        provider=provider.name,
        model=model,
        extra={REQUEST: options} if options else None,
        metadata=body.get("metadata"),
        runner=runner().name,
        is_dead=is_dead,
    )
    turn, created = _begun_with_key(begin, chat, key) if key else begin(chat=chat)
    if not created:
        return runner().watch(turn), False
    return forward(turn, provider, ChatRequest.of_client(body, model)), True


def _begun_with_key(
    begin: Callable[..., tuple[Turn, bool]], chat: NamedChat, key: str
) -> tuple[Turn, bool]:
    """As `begin` does. Where an equal request came to no whole answer, the model is asked again."""
    turn, created = begin(chat=chat, key=key)
    for attempt in range(2, 2 + MAX_REPEATS):
        if created or turn.status in (Status.COMPLETE, Status.STREAMING):
            break
        there = NamedChat(conversation_id=turn.conversation_id, is_retry=True)
        turn, created = begin(chat=there, key=f"{key} #{attempt}")
    return turn, created


def complete_unstored(*, owner: User, body: dict[str, Any]) -> ForwardedTurn:
    """The same without a record: nothing is kept but counts. Raises NotConfigured, InvalidValue."""
    provider, model = model_named(body["model"])
    turn = unstored_turn(owner=owner, provider=provider.name, model=model)
    return forward(turn, provider, ChatRequest.of_client(body, model))


def drafts_of(messages: list[Any]) -> list[MessageDraft]:
    """The messages of a request, as they are to be stored. Raises InvalidValue."""
    try:
        return sent_messages(messages)
    except Malformed as error:
        raise InvalidValue(error.detail, field=error.field) from None
