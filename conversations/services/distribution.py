"""Spreading the tables of owners over a Citus cluster, by owner; what `manage.py distribute` does.

Afterwards everything of one owner lies on one node, users are on every node, and the rest (tokens,
sessions, groups, the audit log) stays on the coordinator. docs/scale.md says when it pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from conversations.db.functions import PREFIX, RESET_PLANS
from conversations.db.owners import OWNERS, is_distributed
from conversations.db.sharding import SETTINGS, shard_by_owner
from conversations.models import (
    Branch,
    Change,
    Conversation,
    ConversationCount,
    ConversationNote,
    LegalHoldRecord,
    Message,
    PendingChange,
    Review,
    Tombstone,
    UnstoredTurn,
)
from conversations.services.errors import Conflict

NO_CITUS = "This database has no Citus extension: run CREATE EXTENSION citus on every node first."
NO_COORDINATOR = (
    "The coordinator is not one of its own nodes, which the tables it shares need: "
    "run SELECT citus_set_coordinator_host('host', port) on it."
)
NO_NODES = "This cluster has no worker: run SELECT citus_add_node('host', port) for each."
UNMIGRATED = "Migrations are missing: run manage.py migrate first."

# The conversations come first: the others lie beside them, and refer to them.
BY_OWNER = (
    Conversation,
    Message,
    Branch,
    ConversationNote,
    Review,
    Tombstone,
    LegalHoldRecord,
    PendingChange,
    Change,
    UnstoredTurn,
    ConversationCount,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, for people to read, and its SQL."""

    text: str
    statements: tuple[str, ...]


def plan_distribution() -> list[Step]:
    """What is still to be done, in order; nothing on a cluster that is distributed.

    Raises Conflict where this database cannot be distributed, saying what to do about it.
    """
    _check_cluster()
    tables = _tables()
    steps, left = _spreading(tables), [table for table in tables if table not in _distributed()]
    return [*steps, *_numbering(left), *_cleaning(tables, also=left)]


def distribute() -> Iterator[Step]:
    """Do what `plan_distribution` gives, each step as it is done.

    The tables are spread in one transaction, all or none. What follows is done again where it was
    interrupted. Nobody else may write meanwhile: the tables are locked until the end. Web
    processes that ran before have to be started again.
    """
    _check_cluster()
    tables = _tables()
    numbers = _numbering([table for table in tables if table not in _distributed()])
    with transaction.atomic():
        yield from _done(_spreading(tables))
        yield from _done(numbers)
    is_distributed.cache_clear()
    yield from _done(_cleaning(tables))


def _done(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        with connection.cursor() as cursor:
            for statement in step.statements:
                cursor.execute(statement)
        yield step


def _check_cluster() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'citus'")
        if not cursor.fetchone()[0]:
            raise Conflict(NO_CITUS)
        cursor.execute(
            "SELECT count(*) FILTER (WHERE groupid = 0), count(*) FILTER (WHERE shouldhaveshards)"
            " FROM pg_dist_node WHERE isactive AND noderole = 'primary'"
        )
        coordinators, nodes = cursor.fetchone()
    if not coordinators:
        raise Conflict(NO_COORDINATOR)
    if not nodes:
        raise Conflict(NO_NODES)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise Conflict(UNMIGRATED)


def _tables() -> list[str]:
    """That of users, then those of owners."""
    return [model._meta.db_table for model in (get_user_model(), *BY_OWNER)]


def _distributed() -> set[str]:
    return set(
        _column(
            "SELECT table_name::text FROM citus_tables"
            " WHERE citus_table_type IN ('distributed', 'reference')"
        )
    )


def _column(sql: str, *values: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]


def _step(text: str, *statements: str) -> list[Step]:
    """None where there is no statement."""
    return [Step(text, statements)] if statements else []


def _spreading(tables: Sequence[str]) -> list[Step]:
    """Foreign keys are taken off meanwhile, since they may only join tables that lie together."""
    left = [table for table in tables if table not in _distributed()]
    users, by_owner = tables[0], tables[1:]
    keys = _foreign_keys(by_owner, left)
    steps = [
        *_step("Take foreign keys off", *(f"{table} DROP {name}" for table, name, _ in keys)),
        *_step(
            "Remove triggers of TRUNCATE, which are about rows of all owners",
            *_truncate_triggers(),
        ),
    ]
    if by_owner[0] in left:
        steps += _key_of_conversations(by_owner[0])
    for table in left:
        if table == users:
            steps += _step(
                f"Copy {users} to every node", f"SELECT create_reference_table('{users}')"
            )
        else:
            steps += _step(f"Shard {table} by owner", shard_by_owner(table))
    steps += _step(
        "Put foreign keys back, checked at once",
        *(f"{table} ADD {name} {definition}" for table, name, definition in keys),
    )
    steps += _step("Let functions be planned for the owner", *_planned_for_all())
    steps += _step("Make functions known on every node", *_functions())
    if not is_distributed():
        steps += _owners_table(users)
    settings = (f"SET LOCAL {name} = {value}" for name, value in SETTINGS.items())
    return [*_step("Settings of this transaction", *settings), *steps] if steps else []


def _foreign_keys(by_owner: Sequence[str], left: Sequence[str]) -> list[tuple[str, str, str]]:
    """Those to be made anew: ALTER TABLE, CONSTRAINT, the rest of the definition.

    A deferred key fails at the COMMIT of another node, which Citus reports without saying which
    key it was.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('ALTER TABLE %%s', conrelid::regclass),"
            " format('CONSTRAINT %%I', conname),"
            " replace(pg_get_constraintdef(oid), ' DEFERRABLE INITIALLY DEFERRED', '')"
            " FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(%s::regclass[])"
            " AND (condeferrable OR conrelid = ANY(%s::regclass[]))"
            " ORDER BY conrelid::regclass::text, conname",
            [list(by_owner), list(left)],
        )
        return list(cursor.fetchall())


def _truncate_triggers() -> list[str]:
    return _column(
        "SELECT format('DROP TRIGGER %%I ON %%s', tgname, tgrelid::regclass) FROM pg_trigger"
        " WHERE tgfoid IN ('conversations_truncate_hold'::regproc,"
        " 'conversations_count_none'::regproc) ORDER BY tgname"
    )


def _key_of_conversations(table: str) -> list[Step]:
    return _step(
        "Let the key of conversations begin with the owner",
        f"ALTER TABLE {table} DROP CONSTRAINT conversation_owner_unique",
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey",
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (user_id, id)",
    )


def _owners_table(users: str) -> list[Step]:
    return _step(
        "Make the table of conversations' owners, sharded by id",
        f"DROP VIEW {OWNERS}",
        f"CREATE TABLE {OWNERS} (id uuid PRIMARY KEY, user_id integer NOT NULL)",
        f"SELECT create_distributed_table('{OWNERS}', 'id', colocate_with => 'none')",
        f"INSERT INTO {OWNERS} SELECT id, user_id FROM {Conversation._meta.db_table}"  # noqa: S608
        f" UNION SELECT id, user_id FROM {Tombstone._meta.db_table} WHERE id = conversation_id",
        f"CREATE INDEX conversation_owner_idx ON {OWNERS} (user_id)",
        f"ALTER TABLE {OWNERS} ADD CONSTRAINT conversation_owner_user_fk"
        f" FOREIGN KEY (user_id) REFERENCES {users} (id) ON DELETE CASCADE",
    )


def _planned_for_all() -> list[str]:
    """Functions that `migrate` made before the tables were distributed."""
    return _column(
        f"SELECT format('ALTER FUNCTION %%s {RESET_PLANS}', oid::regprocedure) FROM pg_proc"  # noqa: S608
        " WHERE starts_with(proname, %s) AND pronamespace = current_schema()::regnamespace"
        " AND proconfig::text LIKE '%%plan_cache_mode%%' ORDER BY oid",
        PREFIX,
    )


def _functions() -> list[str]:
    """Triggers on every node call them; Citus itself takes along only those of the triggers."""
    return _column(
        "SELECT format('SELECT create_distributed_function(%%L)', oid::regprocedure) FROM pg_proc"
        " WHERE proname LIKE 'conversations\\_%%' AND pronamespace = current_schema()::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_dist_object"
        " WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid) ORDER BY oid"
    )


def _cleaning(tables: Sequence[str], also: Sequence[str] = ()) -> list[Step]:
    """The rows that the coordinator stored itself are unseen now, but still on its disk."""
    copies = _column(
        "SELECT name FROM unnest(%s) WITH ORDINALITY AS given (name, place)"
        " WHERE pg_relation_size(name::regclass) > 0 ORDER BY place",
        list(tables),
    )
    spread = _distributed() | set(also)
    remove = "SELECT truncate_local_data_after_distributing_table('{}')"
    return _step(
        "Remove the local copies", *(remove.format(table) for table in copies if table in spread)
    )


def _numbering(left: Sequence[str]) -> list[Step]:
    """Local tables that refer to users become tables of the cluster, and their numbers start anew.

    The next number is never one that was given out before, also where its row is gone.
    """
    if get_user_model()._meta.db_table not in left:
        return []
    return _step("Go on counting where the numbers were", *_column(_NEXT_NUMBERS))


_NEXT_NUMBERS = """
SELECT format('SELECT setval(pg_get_serial_sequence(%%L, %%L), %%s)',
    attrelid::regclass::text, attname, last_value)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
JOIN pg_sequences ON format('%%I.%%I', schemaname, sequencename)
    = pg_get_serial_sequence(attrelid::regclass::text, attname)
WHERE attidentity <> '' AND relkind = 'r' AND last_value IS NOT NULL ORDER BY 1
"""
