"""How a table of owners gets onto the nodes of a Citus cluster, also by a later migration."""

from __future__ import annotations

from typing import Any

import sqlparse
from django.db import connection
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.migrations.operations.base import Operation

from conversations.db.owners import is_distributed

# Beside it lies everything else of an owner.
_FIRST = "conversations_conversation"

# What changes to sharded tables need.
SETTINGS = {
    # The triggers read and write rows of one owner alone, which lie on their own node.
    "citus.enable_unsafe_triggers": "on",
    # Functions are made on every node, also within a transaction.
    "citus.create_object_propagation": "immediate",
    # Tables that refer to one on every node are changed one shard after the other.
    "citus.multi_shard_modify_mode": "sequential",
}


ADD_CHECK = "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({})"


class ShardedSchemaEditor(DatabaseSchemaEditor):
    """Says in several statements what Citus does not take in one.

    A column and its check (as of positive integers), which gets the name that PostgreSQL would
    give to it; and the statements of a RunSQL.
    """

    def execute(self, sql: Any, params: Any = ()) -> None:
        if isinstance(sql, str) and params is None:
            for statement in sqlparse.split(sql):
                super().execute(statement, None)
        else:
            super().execute(sql, params)

    def add_field(self, model: Any, field: Any) -> None:
        check = field.db_parameters(self.connection)["check"]
        checks = self.connection.data_type_check_constraints
        self.connection.data_type_check_constraints = {}
        try:
            super().add_field(model, field)
        finally:
            self.connection.data_type_check_constraints = checks
        if check:
            name = f"{model._meta.db_table}_{field.column}_check"
            self.execute(ADD_CHECK.format(model._meta.db_table, name, check))


def prepare_migrations(**_: Any) -> None:
    """Before `manage.py migrate`: how its session changes tables, where they are sharded."""
    if is_distributed():
        connection.SchemaEditorClass = ShardedSchemaEditor
        with connection.cursor() as cursor:
            for name, value in SETTINGS.items():
                cursor.execute(f"SET {name} = {value}")


def shard_by_owner(table: str) -> str:
    """The statement that spreads a table by its `user_id`."""
    beside = "none" if table == _FIRST else _FIRST
    return f"SELECT create_distributed_table('{table}', 'user_id', colocate_with => '{beside}')"


class OwnTable(Operation):
    """In a migration, after CreateModel: what every table with a `user_id` of an owner has.

    Its rows lie beside those of the owner on a cluster, their owner never changes, and they go with
    `parent`: the conversation, by `(user_id, conversation_id)`, or the user, by `user_id`. On a
    cluster foreign keys are checked at once, since a failing COMMIT of another node does not say
    which key it was. DeleteModel undoes it.
    """

    reversible = True

    def __init__(self, name: str, parent: str = "conversation") -> None:
        if parent not in _FOREIGN_KEYS:
            raise ValueError(f"parent is one of {', '.join(_FOREIGN_KEYS)}")
        self.name, self.parent = name, parent

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        name = table.removeprefix(f"{app_label}_")
        if is_distributed():
            schema_editor.execute(shard_by_owner(table))
        key = _FOREIGN_KEYS[self.parent].format(table=table, name=name)
        schema_editor.execute(key if is_distributed() else f"{key} {_DEFERRED}")
        schema_editor.execute(_KEEP_OWNER.format(table=table, name=name))

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        pass

    def describe(self) -> str:
        return f"Make {self.name} a table of owners"


_DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
_FOREIGN_KEYS = {
    "conversation": (
        "ALTER TABLE {table} ADD CONSTRAINT {name}_conversation_fk"
        " FOREIGN KEY (user_id, conversation_id)"
        " REFERENCES conversations_conversation (user_id, id) ON DELETE CASCADE"
    ),
    "user": (
        "ALTER TABLE {table} ADD CONSTRAINT {name}_user_fk"
        " FOREIGN KEY (user_id) REFERENCES auth_user (id) ON DELETE CASCADE"
    ),
}
_KEEP_OWNER = (
    "CREATE TRIGGER {name}_keep_owner BEFORE UPDATE OF user_id ON {table}"
    " FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id) EXECUTE FUNCTION conversations_keep_owner()"
)
