"""The functions of the database that this release calls (`db/functions.py`)."""

from __future__ import annotations

from conversations.db.functions import install, missing
from conversations.selectors import conversation_pages, message_pages, token_holders
from conversations.services import append_at_end

FUNCTIONS = (
    token_holders.TOKEN,
    conversation_pages.CONVERSATIONS,
    conversation_pages.CONVERSATION,
    message_pages.MESSAGES,
    append_at_end.APPEND,
)


def ensure_functions() -> None:
    """Create those that the database lacks. Called after `migrate`."""
    install(FUNCTIONS)


def missing_functions() -> list[str]:
    """The names of those that the database lacks."""
    return missing(FUNCTIONS)
