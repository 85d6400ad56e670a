"""Spreading the tables of owners over a Citus cluster, by owner; what `manage.py distribute` does.

Afterwards everything of one owner lies on one node, users are on every node, and the rest (tokens,
sessions, groups, the audit log) stays on the coordinator. docs/scale.md says when it pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from conversations.db.owners import OWNERS, is_distributed
from conversations.models import (
    Change,
    Conversation,
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
    ConversationNote,
    Review,
    Tombstone,
    LegalHoldRecord,
    PendingChange,
    Change,
    UnstoredTurn,
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
    distributed = _distributed_tables()
    left = [model._meta.db_table for model in BY_OWNER if model._meta.db_table not in distributed]
    steps = []
    users = get_user_model()._meta.db_table
    if users not in distributed:
        steps.append(
            _step(f"Copy {users} to every node", f"SELECT create_reference_table('{users}')")
        )
    if left:
        steps += _spread(left)
    if not is_distributed():
        steps.append(_owners_step())
    return steps


def distribute() -> Iterator[Step]:
    """Do what `plan_distribution` gives, each step as it is done; all of it or nothing.

    Nobody else may write meanwhile: the tables are locked until the end. Web processes that ran
    before have to be started again.
    """
    steps = plan_distribution()
    with transaction.atomic(), connection.cursor() as cursor:
        # The triggers read and write rows of one owner alone, which lie on their own node.
        cursor.execute("SET LOCAL citus.enable_unsafe_triggers = on")
        # Tables that refer to one on every node are changed one shard after the other.
        cursor.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
        for step in steps:
            for statement in step.statements:
                cursor.execute(statement)
            yield step
    is_distributed.cache_clear()
    if steps:
        yield from _cleaned()


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


def _distributed_tables() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name::text FROM citus_tables"
            " WHERE citus_table_type IN ('distributed', 'reference')"
        )
        return {name for (name,) in cursor.fetchall()}


def _step(text: str, *statements: str) -> Step:
    return Step(text, statements)


# Constraint, table, the rest of its definition.
_FOREIGN_KEYS = [
    (
        f"{table}_conversation_fk",
        f"conversations_{table}",
        "(user_id, conversation_id)",
        "conversations_conversation (user_id, id)",
    )
    for table in ("message", "conversationnote", "legalholdrecord")
] + [
    (
        "review_message_fk",
        "conversations_review",
        "(user_id, conversation_id, message_id)",
        "conversations_message (user_id, conversation_id, id)",
    ),
]


def _spread(tables: list[str]) -> list[Step]:
    """Foreign keys are taken off meanwhile, since they may only join tables that lie together."""
    first = Conversation._meta.db_table
    steps = [
        _step(
            "Take foreign keys off",
            *(
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
                for name, table, _, _ in _FOREIGN_KEYS
            ),
        ),
        _step(
            "Remove triggers of TRUNCATE, which ask for rows of all owners", *_truncate_triggers()
        ),
    ]
    if first in tables:
        steps.append(
            _step(
                "Let the key of conversations begin with the owner",
                f"ALTER TABLE {first} DROP CONSTRAINT conversation_owner_unique",
                f"ALTER TABLE {first} DROP CONSTRAINT {first}_pkey",
                f"ALTER TABLE {first} ADD CONSTRAINT {first}_pkey PRIMARY KEY (user_id, id)",
            )
        )
    for table in tables:
        beside = "none" if table == first else first
        steps.append(
            _step(
                f"Shard {table} by owner",
                f"SELECT create_distributed_table("
                f"'{table}', 'user_id', colocate_with => '{beside}')",
            )
        )
    steps.append(
        _step(
            "Put foreign keys back",
            *(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY {columns}"
                f" REFERENCES {target} ON DELETE CASCADE"
                for name, table, columns, target in _FOREIGN_KEYS
            ),
        )
    )
    return steps


def _truncate_triggers() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger"
            " WHERE tgfoid = 'conversations_truncate_hold'::regproc"
        )
        return [statement for (statement,) in cursor.fetchall()]


def _owners_step() -> Step:
    return _step(
        "Make the table of conversations' owners, sharded by id",
        f"DROP VIEW {OWNERS}",
        f"CREATE TABLE {OWNERS} (id uuid PRIMARY KEY, user_id integer NOT NULL)",
        f"SELECT create_distributed_table('{OWNERS}', 'id', colocate_with => 'none')",
        f"INSERT INTO {OWNERS} SELECT id, user_id FROM {Conversation._meta.db_table}"  # noqa: S608
        f" UNION SELECT id, user_id FROM {Tombstone._meta.db_table} WHERE id = conversation_id",
        f"CREATE INDEX conversation_owner_idx ON {OWNERS} (user_id)",
    )


def _cleaned() -> Iterator[Step]:
    """The rows that the coordinator stored itself are unseen now, but still on its disk."""
    tables = [get_user_model()._meta.db_table, *(model._meta.db_table for model in BY_OWNER)]
    truncate = "SELECT truncate_local_data_after_distributing_table('{}')"
    steps = [
        _step("Remove the local copies", *map(truncate.format, tables)),
        _step("Go on counting where the numbers of local tables were", _RESET_IDENTITIES),
    ]
    with connection.cursor() as cursor:
        for step in steps:
            for statement in step.statements:
                cursor.execute(statement)
            yield step


# Local tables that refer to users become tables of the cluster, and their numbers start anew.
_RESET_IDENTITIES = """
DO $do$
DECLARE
    numbered record;
BEGIN
    FOR numbered IN
        SELECT table_name::text AS name, attname AS number FROM citus_tables
        JOIN pg_attribute ON attrelid = table_name AND attidentity <> ''
    LOOP
        EXECUTE format(
            'SELECT setval(pg_get_serial_sequence(%L, %L),
                (SELECT coalesce(max(%I), 0) + 1 FROM %s), false)',
            numbered.name, numbered.number, numbered.number, numbered.name);
    END LOOP;
END
$do$
"""
