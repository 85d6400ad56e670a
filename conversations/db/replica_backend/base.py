"""The connection to a replica. A statement that fails there runs once more, on the primary.

So a replica may end at any moment: no request, nor a download that has begun, notices. What is
wrong with the statement itself, the primary says too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2.extensions
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.postgresql import base
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from conversations.db.replica_servers import note_failure
from conversations.db.replicas import give_up_reading
from conversations.db.time_limits import at_most

# Above the statement timeout of the server, which does not end a statement of a frozen one.
STATEMENT_SECONDS = 12.0


class _FallsBack(CursorWrapper):
    """A cursor that goes over to the primary with the statement that fails."""

    def _execute_with_wrappers(
        self, sql: str, params: Any, many: bool, executor: Callable[..., Any]
    ) -> Any:
        if self.db.alias == DEFAULT_DB_ALIAS:
            return super()._execute_with_wrappers(sql, params, many, executor)  # type: ignore[misc]
        try:
            with at_most(STATEMENT_SECONDS, self.cursor.connection):
                return super()._execute_with_wrappers(sql, params, many, executor)  # type: ignore[misc]
        except (DatabaseError, InterfaceError) as error:
            _give_up(self.db, error)
            self._go_over()
        return self._execute_with_wrappers(sql, params, many, executor)

    def _go_over(self) -> None:
        primary = connections[DEFAULT_DB_ALIAS].cursor()
        # How this cursor reads values (`db/compiled.py`).
        for kind in (self.cursor.string_types or {}).values():
            psycopg2.extensions.register_type(kind, primary.cursor)
        self.cursor, self.db = primary.cursor, primary.db


class _FallsBackDebug(_FallsBack, CursorDebugWrapper):
    pass


class DatabaseWrapper(base.DatabaseWrapper):
    def cursor(self) -> CursorWrapper:
        try:
            return super().cursor()
        except (DatabaseError, InterfaceError) as error:
            _give_up(self, error)
        return connections[DEFAULT_DB_ALIAS].cursor()

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        return _FallsBack(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> CursorDebugWrapper:
        return _FallsBackDebug(cursor, self)


def _give_up(connection: base.DatabaseWrapper, error: Exception) -> None:
    note_failure(connection, error)
    give_up_reading()
