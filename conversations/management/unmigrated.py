"""What to do where a command fails because migrations are missing."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

NO_TABLES = "The database has no tables yet: run manage.py migrate"
TABLES_TOO_OLD = "The database lacks {count} migrations of this version: run manage.py migrate"


def remedy_for_missing_migrations() -> str | None:
    """None where every migration is applied, so that the error has another cause."""
    try:
        connection.close()  # the failed command may have left it in a transaction
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return None
    if not missing:
        return None
    applied = executor.loader.applied_migrations
    return TABLES_TOO_OLD.format(count=len(missing)) if applied else NO_TABLES
