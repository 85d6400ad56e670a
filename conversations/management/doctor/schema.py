"""Checks of the schema: migrations, functions, indexes, constraints and triggers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from conversations.db.owners import is_distributed
from conversations.management.doctor.finding import Finding, ok, problem, warning
from conversations.services.functions import missing_functions

APP = "conversations"
MIGRATE = "Run manage.py migrate."
# What the migrations made; of each table its own.
_TRIGGERS = {
    "accessrecord": "hold_truncate stays",
    "branch": "hold_delete hold_update keep_owner",
    "change": "keep_owner",
    "conversation": (
        "count_deleted count_inserted count_truncated created deleted hold_delete "
        "hold_placed hold_truncate hold_update keep_owner search_insert search_update "
        "updated"
    ),
    "conversationcount": "keep_owner",
    "conversationnote": "hold hold_truncate keep_owner",
    "legalholdrecord": "delete hold_truncate update",
    "message": (
        "changed deleted hold_delete hold_truncate hold_turn hold_update keep_owner "
        "search_insert search_update"
    ),
    "pendingchange": "keep_owner",
    "review": "hold hold_truncate keep_owner",
    "tombstone": "keep_owner",
    "unstoredturn": "keep_owner",
}
TRIGGERS = frozenset(
    f"{table}_{name}" for table, names in _TRIGGERS.items() for name in names.split()
)
RESTORE = "Restore a backup into an empty database and compare, or create it as its migration does."


def check_migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        yield problem("migrations", f"{len(missing)} are not applied", MIGRATE)
    known = set(executor.loader.disk_migrations)
    ours = {label for label, _ in known}
    newer = [key for key in executor.loader.applied_migrations if key not in known]
    if newer := [key for key in newer if key[0] in ours]:
        names = ", ".join(".".join(key) for key in newer)
        yield warning(
            "migrations",
            f"A newer release has applied: {names}",
            "Update this machine; until then, docs/deploy.md says what runs beside what.",
        )
    if not missing and not newer:
        yield ok("migrations", f"all {len(known)} are applied")


def check_functions() -> Iterator[Finding]:
    if missing := missing_functions():
        yield problem("functions", f"missing: {', '.join(missing)}", MIGRATE)
    else:
        yield ok("functions", "those of this release are there")


def check_indexes() -> Iterator[Finding]:
    invalid = _column(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE NOT (indisvalid AND indisready)"
        " AND relnamespace = current_schema()::regnamespace"
    )
    for name in invalid:
        yield problem(
            "indexes",
            f"{name} is invalid: it slows writes and serves no read",
            f"REINDEX INDEX CONCURRENTLY {name}; where it is left of a failed one, drop it.",
        )
    there = set(
        _column("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    )
    expected = {index.name for model in _models() for index in model._meta.indexes}
    for name in sorted(expected - there):
        yield problem("indexes", f"{name} is missing", RESTORE)
    if not invalid and expected <= there:
        yield ok("indexes", "all are there and valid")


def check_constraints() -> Iterator[Finding]:
    rows = _rows(
        "SELECT conname, convalidated FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace"
        " UNION ALL SELECT relname, true FROM pg_class"
        " WHERE relkind IN ('i', 'I') AND relnamespace = current_schema()::regnamespace"
    )
    there = dict(rows)
    expected = {rule.name for model in _models() for rule in model._meta.constraints}
    missing = sorted(expected - there.keys())
    for name in missing:
        yield problem("constraints", f"{name} is missing", RESTORE)
    unchecked = [name for name, is_checked in rows if not is_checked]
    for name in unchecked:
        yield warning(
            "constraints",
            f"{name} was not checked against the rows that were there before it",
            f"ALTER TABLE … VALIDATE CONSTRAINT {name}.",
        )
    if not missing and not unchecked:
        yield ok("constraints", "all are there and checked")


def check_triggers() -> Iterator[Finding]:
    if is_distributed():  # they are on the shards
        return
    enabled = dict(
        _rows(
            "SELECT tgname, bool_and(tgenabled IN ('O', 'A')) FROM pg_trigger"
            " JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
            " GROUP BY tgname"
        )
    )
    missing = sorted(TRIGGERS - enabled.keys())
    off = sorted(name for name in TRIGGERS & enabled.keys() if not enabled[name])
    for name in missing:
        yield problem("triggers", f"{name} is missing: its rule is not enforced", RESTORE)
    for name in off:
        yield problem(
            "triggers",
            f"{name} is disabled: its rule is not enforced",
            f"ALTER TABLE … ENABLE TRIGGER {name}.",
        )
    if not missing and not off:
        yield ok("triggers", "all are there and enabled")


def _models() -> Iterator[Any]:
    return iter(apps.get_app_config(APP).get_models())


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _column(sql: str) -> list[Any]:
    return [row[0] for row in _rows(sql)]
