"""Figures of the database for /metrics and `doctor`: connections, transactions, size, the lag of
the replicas and of the feed of changes.

PostgreSQL shows other roles' sessions only to members of `pg_read_all_stats`; what is hidden is
counted with the state `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections

from conversations.db.bulk_rows import Row
from conversations.db.time_limits import at_most

# In which a server must answer; of a replica each, of the primary all statements together.
ANSWER_SECONDS = 5.0
# Pending changes are not counted further.
MAX_PENDING = 100_000

_DATABASE = """
    SELECT current_setting('max_connections')::int AS max_connections,
        pg_database_size(current_database()) AS size_bytes,
        xact_commit AS committed, xact_rollback AS rolled_back, deadlocks,
        pg_is_in_recovery() AS in_recovery,
        CASE WHEN pg_is_in_recovery() THEN 0
            ELSE (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint END AS wal_position,
        (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest_transaction
    FROM pg_stat_database WHERE datname = current_database()
"""
_CONNECTIONS = """
    SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1
"""
# The index on `arrival` has the oldest first.
_CHANGES = """
    SELECT (SELECT count(*) FROM (
            SELECT 1 FROM conversations_pendingchange LIMIT %s) pending) AS pending,
        coalesce((SELECT extract(epoch FROM clock_timestamp() - created_at)::float
            FROM conversations_pendingchange ORDER BY arrival LIMIT 1), 0) AS pending_age,
        (SELECT last_position FROM conversations_changefeed) AS last_position
"""
_REPLICA = """
    SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,
        CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float END
"""


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """How far a replica is behind; None where it does not answer, or is no standby."""

    alias: str
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """`database`: max_connections, size_bytes, committed, rolled_back, deadlocks (since the
    statistics were reset), wal_position (bytes), oldest_transaction (its age in seconds).
    `changes`: pending (at most MAX_PENDING), pending_age (seconds of the oldest), last_position.
    """

    database: Row
    connections: dict[str, int]
    changes: Row
    replicas: list[ReplicaLag]


def read_figures() -> DatabaseFigures:
    """Raises DatabaseError and InterfaceError, where the primary does not answer in time too."""
    connection.ensure_connection()
    with at_most(ANSWER_SECONDS, connection.connection), connection.cursor() as cursor:
        database = _row(cursor, _DATABASE)
        cursor.execute(_CONNECTIONS)
        by_state = dict(cursor.fetchall())
        changes = _row(cursor, _CHANGES, [MAX_PENDING])
    return DatabaseFigures(database, by_state, changes, replica_lags(database["wal_position"]))


def replica_lags(wal_position: int) -> list[ReplicaLag]:
    """Of the configured replicas, behind this position of the primary's log."""
    return [_lag(alias, wal_position) for alias in settings.DATABASE_REPLICAS]


def _lag(alias: str, wal_position: int) -> ReplicaLag:
    database = connections[alias]
    try:
        # Past the cursor of Django, which would fall back to the primary.
        database.ensure_connection()
        raw = database.connection
        with database.wrap_database_errors, at_most(ANSWER_SECONDS, raw), raw.cursor() as cursor:
            cursor.execute(_REPLICA)
            replayed, seconds = cursor.fetchone()
    except (DatabaseError, InterfaceError):
        database.close()
        return ReplicaLag(alias)
    if replayed is None:
        return ReplicaLag(alias)
    return ReplicaLag(alias, max(0, wal_position - replayed), seconds)


def _row(cursor: Any, sql: str, values: list[Any] | None = None) -> Row:
    cursor.execute(sql, values)
    names = [column.name for column in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))
