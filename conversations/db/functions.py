"""Hot statements as functions of the database, in PL/pgSQL: each session plans them once.

psycopg2 sends text, which PostgreSQL plans anew for every statement; that takes as long as running
it. What a function does is planned when a session first needs it, also behind PgBouncer in
transaction mode, where a prepared statement is not known to the next transaction's server.

Each function is defined beside the Python that calls it, its columns generated from the models, and
`migrate` creates it. A function's name ends in a hash of its text: processes of two releases call
their own while both run. What no release uses any more is dropped by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection, transaction
from psycopg2.extensions import BYTES, register_type

from conversations.db.owners import is_distributed
from conversations.db.replicas import read_connection

PREFIX = "conversations_f_"
# The comment on a function of the release that migrated last, and on one of that before.
_CURRENT, _PREVIOUS = "current", "previous"
_HASH_LENGTH = 12
# On a cluster: Citus finds the node of most statements by the owner's value alone.
RESET_PLANS = "RESET plan_cache_mode"


class DatabaseFunction:
    """A function of the database. `arguments` and `returns` are SQL, as is `body`, in PL/pgSQL.

    One that does not write is read on a replica where the request may (`db/replicas.py`), unless it
    is said to be `on_primary`. `texts_as_bytes`: texts of the result are as they were received, in
    UTF-8, for long ones that are sent on as they are.
    """

    def __init__(
        self,
        name: str,
        *,
        arguments: Sequence[str],
        returns: str,
        body: str,
        writes: bool = False,
        on_primary: bool = False,
        texts_as_bytes: bool = False,
    ) -> None:
        self._texts_as_bytes = texts_as_bytes
        self._on_primary = writes or on_primary
        self._arguments = ", ".join(arguments)
        # What is STABLE sees what was there when its caller's statement began.
        kind = "VOLATILE" if writes else "STABLE"
        self._rest = (
            # One plan for all values. Else a statement whose plan for any values looks dearer than
            # for given ones is planned at each call.
            f"RETURNS {returns} LANGUAGE plpgsql {kind} SET plan_cache_mode = force_generic_plan"
            f" AS $function$\n{body}\n$function$"
        )
        digest = hashlib.sha256(f"{self._arguments} {self._rest}".encode()).hexdigest()
        self.name = f"{PREFIX}{name}_{digest[:_HASH_LENGTH]}"
        call = f"{self.name}({', '.join(['%s'] * len(arguments))})"
        # No value comes from outside.
        self._call = f"SELECT * FROM {call}" if returns.startswith("TABLE") else f"SELECT {call}"  # noqa: S608

    @property
    def definition(self) -> str:
        return f"CREATE FUNCTION {self.name}({self._arguments}) {self._rest}"

    def rows(self, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that it returns."""
        database = connection if self._on_primary else read_connection()
        with database.cursor() as cursor:
            if self._texts_as_bytes:
                register_type(BYTES, cursor.cursor)
            cursor.execute(self._call, values)
            return list(cursor.fetchall())

    def value(self, *values: Any) -> Any:
        """The one value that it returns."""
        ((value,),) = self.rows(*values)
        return value


def install(functions: Collection[DatabaseFunction]) -> None:
    """Create the functions of this release, and drop those of the release before the last."""
    names = {function.name for function in functions}
    with transaction.atomic(), connection.cursor() as cursor:
        stored = _stored(cursor)
        if all(stored.get(name) == _CURRENT for name in names):
            return
        for name in stored.keys() - names:
            if stored[name] == _CURRENT:
                cursor.execute(f"COMMENT ON FUNCTION {name} IS '{_PREVIOUS}'")
            else:
                cursor.execute(f"DROP FUNCTION {name}")
        for function in functions:
            if function.name not in stored:
                cursor.execute(function.definition)
                if is_distributed():
                    cursor.execute(f"ALTER FUNCTION {function.name} {RESET_PLANS}")
            cursor.execute(f"COMMENT ON FUNCTION {function.name} IS '{_CURRENT}'")


def missing(functions: Collection[DatabaseFunction]) -> list[str]:
    """The names of those that the database lacks."""
    with connection.cursor() as cursor:
        return sorted({function.name for function in functions} - _stored(cursor).keys())


def _stored(cursor: Any) -> dict[str, str]:
    """The comments on the functions of all releases, by name."""
    cursor.execute(
        "SELECT proname, obj_description(oid, 'pg_proc') FROM pg_proc"
        " WHERE pronamespace = current_schema()::regnamespace AND starts_with(proname, %s)",
        [PREFIX],
    )
    return dict(cursor.fetchall())
