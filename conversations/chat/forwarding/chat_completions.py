"""A chat completion: recorded, and asked for. What the API does with a client's request."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User

from conversations.chat.forwarding.forwarded_turn import ForwardedTurn, forward
from conversations.chat.forwarding.request import ChatRequest, options_of
from conversations.chat.llm.models import model_named
from conversations.chat.question import REQUEST
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.runner import runner
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.formats import Malformed, MessageDraft
from conversations.formats.openai import as_draft
from conversations.services import InvalidValue
from conversations.services.begin_turn import begin_turn_after
from conversations.services.unstored_turns import unstored_turn


def complete(
    *,
    owner: User,
    body: dict[str, Any],
    conversation_id: uuid.UUID | None = None,
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
) -> ForwardedTurn | WatchedTurn:
    """Store what is new in a request, and begin to ask the model for its answer.

    `body` is that of POST /v1/chat/completions. A turn that an equal request with this `key` began
    before is only watched. Raises NotConfigured, InvalidValue, NotFound, KeyReused, TurnRunning.
    """
    provider, model = model_named(body["model"])
    options = options_of(body)
    turn, created = begin_turn_after(
        owner=owner,
        conversation_id=conversation_id,
        parent=None,
        drafts=drafts_of(body["messages"])[-1:],
        provider=provider.name,
        model=model,
        extra={REQUEST: options} if options else None,
        metadata=metadata,
        key=key,
        runner=runner().name,
        is_dead=is_dead,
    )
    if not created:
        return runner().watch(turn)
    return forward(turn, provider, ChatRequest.of_client(body, model))


def complete_unstored(*, owner: User, body: dict[str, Any]) -> ForwardedTurn:
    """The same without a record: nothing is kept but counts. Raises NotConfigured, InvalidValue."""
    provider, model = model_named(body["model"])
    turn = unstored_turn(owner=owner, provider=provider.name, model=model)
    return forward(turn, provider, ChatRequest.of_client(body, model))


def drafts_of(messages: list[Any]) -> list[MessageDraft]:
    """The messages of a request, as they are to be stored. Raises InvalidValue."""
    try:
        return [as_draft(f"messages.{at}", message) for at, message in enumerate(messages)]
    except Malformed as error:
        raise InvalidValue(error.detail, field=error.field) from None
