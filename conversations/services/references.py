"""Writes that refer to a row which another transaction removed meanwhile."""

from __future__ import annotations

import psycopg2.errors
from django.db import IntegrityError

from conversations.services.errors import NO_SUCH_CONVERSATION, NotFound
from conversations.services.users import NO_SUCH_USER

# How the names of foreign keys end: this project's own, then those that Django makes.
_GONE = {
    ("_user_fk", "_fk_auth_user_id"): NO_SUCH_USER,
    ("_conversation_fk", "_fk_conversations_conversation_id"): NO_SUCH_CONVERSATION,
}


def not_found_from(error: BaseException | None) -> NotFound | None:
    """NotFound where a user or conversation went away before a row that belongs to it was stored.

    Foreign keys are checked at the end of the transaction, wherever that is: the error comes out
    of the outermost one, and only there can it be told. None for every other error.
    """
    if not isinstance(error, IntegrityError):
        return None
    cause = error.__cause__
    if not isinstance(cause, psycopg2.errors.ForeignKeyViolation):
        return None
    name = cause.diag.constraint_name or ""
    return next((NotFound(text) for ends, text in _GONE.items() if name.endswith(ends)), None)
