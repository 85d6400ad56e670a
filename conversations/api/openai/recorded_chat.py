"""Which conversation a recorded model call is about, and what it is for, as its client says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from conversations.api.openai.ids import conversation_id_of
from conversations.api.openai.owners import said_in_header
from conversations.services.recorded_turns import NamedChat

HEADER = "X-Conversation-Id"
# A conversation of ours, or an application's own name for one: whichever comes first.
CHAT_HEADERS = (HEADER, "X-OpenWebUI-Chat-Id")
FIELD = "conversation_id"
# Open WebUI's chats that are not kept: one browser tab gives all of them one name.
_NOT_NAMES = ("temporary:", "local:")
_OURS = "conv_"
TASK_HEADERS = ("X-Task", "X-OpenWebUI-Task")
TASK_FIELD = "task"
RETRIES = "X-Stainless-Retry-Count"


def chat_named(request: Request, body: Mapping[str, Any]) -> NamedChat:
    """The conversation that a request names in a header, in `metadata.conversation_id` or in
    `conversation_id`. Raises NotFound for an id of ours that is none."""
    is_retry = request.headers.get(RETRIES, "0") not in ("", "0")
    headers = (said_in_header(request, name) for name in CHAT_HEADERS)
    fields = (_text(_metadata(body).get(FIELD)), _text(body.get(FIELD)))
    name = next(filter(None, (*headers, *fields)), None)
    if name is None or name.startswith(_NOT_NAMES):
        return NamedChat(is_retry=is_retry)
    if name.startswith(_OURS):
        return NamedChat(conversation_id=conversation_id_of(name, field=FIELD), is_retry=is_retry)
    return NamedChat(name=name, is_retry=is_retry)


def task_named(request: Request, body: Mapping[str, Any]) -> str | None:
    """What a user interface says that it asks for itself: the title of a chat, say."""
    headers = (said_in_header(request, name) for name in TASK_HEADERS)
    return next(filter(None, (*headers, _text(_metadata(body).get(TASK_FIELD)))), None)


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
