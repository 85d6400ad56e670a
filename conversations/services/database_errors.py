"""What a database error means: no service for now, a row that is gone, or a defect."""

from __future__ import annotations

from dataclasses import dataclass
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

from conversations.services.errors import NO_SUCH_CONVERSATION, NotFound
from conversations.services.users import NO_SUCH_USER

RETRY_SECONDS = 5

UNREACHABLE = "The database is not available just now."
TIMED_OUT = "The database took longer for this request than it may."
LOCKED = "Another request holds what this one needs; it waited as long as it may."
ROLLED_BACK = "The database undid this request because another one changed the same rows."
DISK_FULL = "The database has no space left on its disk."
OVERLOADED = "The database has no connection or memory left for this request."


@dataclass(frozen=True, slots=True)
class Unavailability:
    """Why the database could not serve: `detail` is for clients.

    `connection_lost`: this connection is of no use any more; the next one may be.
    """

    detail: str
    connection_lost: bool = False


_LOST = Unavailability(UNREACHABLE, connection_lost=True)

# By SQLSTATE, or its first characters: Appendix A of PostgreSQL's manual.
_BY_SQLSTATE = {
    "08": _LOST,  # connection exceptions
    "57P": _LOST,  # ended by an administrator, by a crash, or not up yet
    "25006": _LOST,  # read_only_sql_transaction: this server has become a standby
    "25P03": _LOST,  # idle_in_transaction_session_timeout, which ends the session
    "25P04": _LOST,  # transaction_timeout, which ends it too
    "57014": Unavailability(TIMED_OUT),  # query_canceled, by statement_timeout
    "55P03": Unavailability(LOCKED),  # lock_not_available
    "40001": Unavailability(ROLLED_BACK),  # serialization_failure
    "40P01": Unavailability(ROLLED_BACK),  # deadlock_detected
    "53100": Unavailability(DISK_FULL),
    "53": Unavailability(OVERLOADED),  # insufficient resources
    "58": Unavailability(UNREACHABLE),  # system errors, such as of a disk
}

# How the names of foreign keys end: this project's own, then those that Django makes.
_GONE = {
    ("_user_fk", "_fk_auth_user_id"): NO_SUCH_USER,
    ("_conversation_fk", "_fk_conversations_conversation_id"): NO_SUCH_CONVERSATION,
}


def unavailability(error: BaseException | None) -> Unavailability | None:
    """Why the database could not serve; None for a defect and for what is no database error.

    A connection that breaks shows in several ways. Beside OperationalError psycopg2 raises a
    plain DatabaseError ("server closed the connection unexpectedly", "no message from the
    libpq"), and InterfaceError for what is asked of the connection afterwards.
    """
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    cause = error.__cause__
    sqlstate = getattr(cause, "pgcode", None)
    if sqlstate is not None:
        return _by_sqlstate(sqlstate)
    if isinstance(error, OperationalError) or type(cause) is psycopg2.DatabaseError:
        return _LOST
    return _LOST if isinstance(error, InterfaceError) and _is_closed(connection) else None


def close_lost_connection() -> None:
    """Close this thread's connection after a loss: the next statement opens a new one."""
    if not connection.in_atomic_block:
        connection.close()


def _by_sqlstate(sqlstate: str) -> Unavailability | None:
    """The entry with the longest matching beginning."""
    starts = (sqlstate[:length] for length in (5, 3, 2))
    return next((_BY_SQLSTATE[start] for start in starts if start in _BY_SQLSTATE), None)


def _is_closed(wrapper: Any) -> bool:
    return wrapper.connection is None or bool(wrapper.connection.closed)


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
