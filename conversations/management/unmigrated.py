"""A hint for commands that fail because migrations have not been applied."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

NO_TABLES = "The database has no tables yet: run manage.py migrate"
TABLES_TOO_OLD = "The database lacks {count} migrations of this version: run manage.py migrate"
NO_FUNCTIONS = "The database lacks functions of this version: run manage.py migrate"


def remedy_for_missing_migrations() -> str | None:
    """The hint, or None if all migrations are applied and the error has another cause."""
    try:
        connection.close()  # it may be in a failed transaction
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not missing:
            return NO_FUNCTIONS if _lacks_functions() else None
    except DatabaseError:
        return None
    applied = executor.loader.applied_migrations
    return TABLES_TOO_OLD.format(count=len(missing)) if applied else NO_TABLES


def _lacks_functions() -> bool:
    # This module is imported before the models can be.
    app: Any = apps.get_app_config("conversations")
    return bool(app.missing_functions())
