"""A transcript in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

from conversations.formats.chat import RecordedChat
from conversations.formats.message import RecordedMessage
from conversations.formats.writers.judgements import judgements_of


def write_markdown(chat: RecordedChat) -> Iterator[str]:
    """The contents of messages are unchanged."""
    yield f"# {' '.join(chat.title.split())}\n\n"
    yield f"- Owner: {chat.owner}\n- Conversation: {chat.id}\n"
    if chat.branch is not None:
        yield f"- Branch: {chat.branch.position} of {chat.branch.count}\n"
    yield f"- Created: {chat.created_at.isoformat()}\n\n"
    for message in chat.messages:
        yield "".join(_message(message))
    yield "\n---\n\n"


def _message(message: RecordedMessage) -> Iterator[str]:
    name = f" ({message.name})" if message.name else ""
    yield f"## {message.sequence}. {message.role}{name}, {message.created_at.isoformat()}\n\n"
    if message.content:
        yield f"{message.content}\n\n"
    for label, value in [("Tool calls", message.tool_calls), ("Sources", message.sources)]:
        if value:
            yield f"{label}:\n\n```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n\n"
    if message.status != "complete":
        yield f"*{message.status}{': ' + message.error if message.error else ''}*\n\n"
    for judgement in judgements_of(message):
        yield f"*{judgement}*\n\n"
