"""Classify database errors: temporarily unavailable, a missing referenced row, or a defect."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)

from conversations.services.errors import NO_SUCH_CONVERSATION, NotFound, violated_constraint
from conversations.services.users import NO_SUCH_USER

RETRY_SECONDS = 5

UNREACHABLE = "The database is not available."
TIMED_OUT = "The database query exceeded its time limit."
LOCKED = "Another request holds a lock that this one needs, and the wait exceeded its limit."
ROLLED_BACK = "The transaction was rolled back because it conflicted with another one."
DISK_FULL = "The disk of the database is full."
OVERLOADED = "The database has no free connections or memory."


# By SQLSTATE or its first characters (PostgreSQL's manual, Appendix A).
_BY_SQLSTATE = {
    "08": UNREACHABLE,  # connection exceptions
    "57P": UNREACHABLE,  # admin_shutdown, crash_shutdown, cannot_connect_now
    "25006": UNREACHABLE,  # read_only_sql_transaction: the server has become a standby
    "25P03": UNREACHABLE,  # idle_in_transaction_session_timeout, which ends the session
    "25P04": UNREACHABLE,  # transaction_timeout, which ends it as well
    "57014": TIMED_OUT,  # query_canceled, by statement_timeout
    "55P03": LOCKED,  # lock_not_available
    "40001": ROLLED_BACK,  # serialization_failure
    "40P01": ROLLED_BACK,  # deadlock_detected
    "53100": DISK_FULL,
    "53": OVERLOADED,  # insufficient resources
    "58": UNREACHABLE,  # system errors, such as I/O errors
}

# By the suffix of a foreign key constraint: those of this project, then those named by Django.
_NOT_FOUND = {
    ("_user_fk", "_fk_auth_user_id"): NO_SUCH_USER,
    ("_conversation_fk", "_fk_conversations_conversation_id"): NO_SUCH_CONVERSATION,
}


def why_unavailable(error: BaseException | None) -> str | None:
    """Why the database is unavailable, a text for clients; None for a defect or another error.

    UNREACHABLE means that this connection is lost (`close_lost_connection`). psycopg2 reports a
    lost connection as an OperationalError, as a plain DatabaseError ("server closed the connection
    unexpectedly", "no message from the libpq"), and as an InterfaceError for later statements.
    """
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    sqlstate = getattr(cause, "pgcode", None)
    if sqlstate is not None:
        return _by_sqlstate(sqlstate)
    if isinstance(error, OperationalError) or type(cause) is psycopg2.DatabaseError:
        return UNREACHABLE
    return UNREACHABLE if isinstance(error, InterfaceError) and _is_closed(connection) else None


def close_lost_connection() -> None:
    """Close this thread's connection, unless in a transaction; the next query opens a new one."""
    if not connection.in_atomic_block:
        connection.close()


def _by_sqlstate(sqlstate: str) -> str | None:
    """The entry with the longest matching prefix."""
    starts = (sqlstate[:length] for length in (5, 3, 2))
    return next((_BY_SQLSTATE[start] for start in starts if start in _BY_SQLSTATE), None)


def _is_closed(wrapper: Any) -> bool:
    return wrapper.connection is None or bool(wrapper.connection.closed)


def not_found_from(error: BaseException | None) -> NotFound | None:
    """NotFound if a foreign key's user or conversation was deleted concurrently; else None.

    The foreign keys are deferred: the IntegrityError is raised at the commit of the outermost
    transaction.
    """
    if not isinstance(error, IntegrityError):
        return None
    if not isinstance(error.__cause__, psycopg2.errors.ForeignKeyViolation):
        return None
    name = violated_constraint(error)
    return next((NotFound(text) for ends, text in _NOT_FOUND.items() if name.endswith(ends)), None)
