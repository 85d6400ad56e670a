"""Checks of the database server: version, durability, clock, connections, replicas, upkeep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import connection

from conversations.management.doctor.finding import Finding, ok, problem, warning
from conversations.management.serving import threads_per_worker
from conversations.selectors.database_figures import read_figures

OLDEST_VERSION = 15
# Seconds that this machine's clock and the database's may differ.
CLOCK_WARNING, CLOCK_PROBLEM = 1.0, 10.0
OLD_TRANSACTION_SECONDS = 3_600
# Of max_connections.
MOST_CONNECTIONS = 0.8
# Dead rows that a vacuum should have removed.
MANY_DEAD_ROWS, DEAD_SHARE = 50_000, 0.2
ANALYZED_ROWS = 10_000
# Of two billion transactions, after which the database takes no writes.
OLD_TRANSACTION_IDS = 1_000_000_000


def check_server() -> Iterator[Finding]:
    version: int = connection.pg_version  # type: ignore[attr-defined]
    major = version // 10_000
    if major < OLDEST_VERSION:
        yield problem(
            "database",
            f"PostgreSQL {major}",
            f"Upgrade to {OLDEST_VERSION} or newer: statements of this release need it.",
        )
    else:
        yield ok("database", f"PostgreSQL {major}.{version % 10_000}")
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if _is_off(name)]
    if off:
        embedded = settings.DATABASES["default"].get("EMBEDDED")
        level = warning if embedded and not embedded["durable"] else problem
        yield level(
            "database",
            f"{', '.join(off)} off: a crash of the machine loses acknowledged messages",
            "Turn it on in the server's configuration; for the embedded one, unset "
            "CHATPROJECT_DURABLE.",
        )
    if _setting("server_encoding") != "UTF8":
        yield problem(
            "database",
            f"The encoding is {_setting('server_encoding')}",
            "Restore into a database with the encoding UTF8.",
        )


def check_clock() -> Iterator[Finding]:
    before = time.time()
    theirs = float(_row("SELECT extract(epoch FROM clock_timestamp())")[0])
    after = time.time()
    difference = theirs - (before + after) / 2
    text = f"that of the database is {difference:+.2f} seconds from that of this machine"
    # An answer that took long says little.
    off = max(0.0, abs(difference) - (after - before) / 2)
    if off > CLOCK_WARNING:
        level = problem if off > CLOCK_PROBLEM else warning
        yield level("clock", text, "Run a time service (chrony, systemd-timesyncd) on both.")
    else:
        yield ok("clock", text)


def check_load(workers: int) -> Iterator[Finding]:
    """Connections, old transactions and replicas."""
    figures = read_figures()
    limit, used = figures.database["max_connections"], sum(figures.connections.values())
    text = f"{used} of {limit} connections are in use"
    if used > MOST_CONNECTIONS * limit:
        yield warning("connections", text, "Raise max_connections, or use PgBouncer.")
    else:
        yield ok("connections", text)
    threads = threads_per_worker(workers, limit)
    if threads < settings.WEB_THREADS:
        yield warning(
            "connections",
            f"{limit} connections are too few for {workers} workers of {settings.WEB_THREADS} "
            f"threads: each gets {threads}",
            "Raise max_connections of the database, or lower WEB_THREADS or --workers.",
        )
    oldest = figures.database["oldest_transaction"]
    if oldest > OLD_TRANSACTION_SECONDS:
        yield warning(
            "connections",
            f"a transaction is open for {oldest / 3600:,.1f} hours: no vacuum removes what it sees",
            "Find it in pg_stat_activity, and end it with pg_terminate_backend(pid).",
        )
    longest = settings.DATABASE_REPLICA_MAX_LAG_SECONDS
    for lag in figures.replicas:
        if lag.seconds is None or lag.bytes is None:
            yield problem(
                "replicas",
                f"{lag.alias} does not answer, or is no standby: the primary is read instead",
                "Look at its log; correct DATABASE_REPLICA_URLS where it is gone for good.",
            )
        elif lag.seconds > longest:
            yield problem(
                "replicas",
                f"{lag.alias} is {lag.seconds:,.0f} seconds and {lag.bytes:,} bytes behind",
                "It is not read. Look at its log, its disk and the network.",
            )
        else:
            yield ok("replicas", f"{lag.alias} is {lag.bytes:,} bytes behind")


def check_upkeep() -> Iterator[Finding]:
    """What vacuum and analyze have left."""
    found = False
    if _is_off("autovacuum"):
        found = True
        yield problem("upkeep", "autovacuum is off", "Turn it on: tables grow without it.")
    for table, live, dead, modified, analyzed in _rows(_TABLES):
        if dead > max(MANY_DEAD_ROWS, DEAD_SHARE * live):
            found = True
            yield warning(
                "upkeep",
                f"{table} has {dead:,} dead rows beside {live:,}",
                f"VACUUM ANALYZE {table}; then see why autovacuum has not done so "
                "(old transactions, replication slots, its settings).",
            )
        if max(live, modified) > ANALYZED_ROWS and (not analyzed or modified > live):
            found = True
            yield warning(
                "upkeep",
                f"{table} was not analyzed since {modified:,} rows changed: plans may be slow",
                f"ANALYZE {table}; after a restore or a large import, always.",
            )
    age = _row("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")[0]
    if age > OLD_TRANSACTION_IDS:
        found = True
        yield problem(
            "upkeep",
            f"the oldest transaction id is {age:,} old: at 2 billion, writes are refused",
            "VACUUM FREEZE, and end what holds it back (old transactions, replication slots).",
        )
    if not found:
        yield ok("upkeep", "no table needs a vacuum or analyze")


_TABLES = """
    SELECT relname, n_live_tup, n_dead_tup, n_mod_since_analyze,
        last_analyze IS NOT NULL OR last_autoanalyze IS NOT NULL
    FROM pg_stat_user_tables WHERE schemaname = current_schema() ORDER BY relname
"""


def _is_off(name: str) -> bool:
    return _setting(name) == "off"


def _setting(name: str) -> str:
    return str(_row("SELECT current_setting(%s)", [name])[0])


def _row(sql: str, values: list[Any] | None = None) -> tuple[Any, ...]:
    return _rows(sql, values)[0]


def _rows(sql: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
