"""The functions of the database that this release calls (`db/functions.py`)."""

from __future__ import annotations

from conversations.db.functions import install, missing
from conversations.selectors import (
    conversation_pages,
    message_pages,
    resent_paths,
    token_holders,
)
from conversations.services import append_at_end, locked_conversation

FUNCTIONS = (
    token_holders.TOKEN,
    conversation_pages.CONVERSATIONS,
    conversation_pages.CONVERSATION,
    message_pages.MESSAGES,
    append_at_end.APPEND,
    locked_conversation.LOCK_BY_ID,
    locked_conversation.LOCK_BY_EXTERNAL_ID,
    resent_paths.LINE_MESSAGES,
    resent_paths.MESSAGES_IN_RANGES,
)


def ensure_functions() -> None:
    """Create those that the database lacks. Called after `migrate`."""
    install(FUNCTIONS)


def missing_functions() -> list[str]:
    """The names of those that the database lacks."""
    return missing(FUNCTIONS)
