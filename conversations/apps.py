"""Configuration of the Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate, pre_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"
    # Those that the database had before its migrations, while these run.
    rights_before: set[str] | None = None

    def ready(self) -> None:
        pre_migrate.connect(_prepare_migrations, sender=self)
        # Runs after the receiver of django.contrib.auth that creates the permissions, since that
        # app precedes this one in INSTALLED_APPS.
        post_migrate.connect(_create_initial_rows, sender=self)
        user_logged_in.connect(_reset_login_failures)

    def missing_functions(self) -> list[str]:
        """Of the database, those that this release calls: `migrate` has not been run."""
        from conversations.services.functions import missing_functions

        return missing_functions()


def _prepare_migrations(sender: ConversationsConfig, **kwargs: Any) -> None:
    # Models can be imported only after all apps are loaded.
    from conversations.db.sharding import prepare_migrations
    from conversations.services.groups import stored_rights

    prepare_migrations(**kwargs)
    sender.rights_before = stored_rights()


def _create_initial_rows(sender: ConversationsConfig, **kwargs: Any) -> None:
    # Models can be imported only after all apps are loaded.
    from conversations.services.bootstrap import ensure_secret
    from conversations.services.functions import ensure_functions
    from conversations.services.groups import ensure_groups

    # At once: django.contrib.auth has just created the new permissions.
    ensure_groups(sender.rights_before)
    sender.rights_before = None
    ensure_functions()
    ensure_secret()


def _reset_login_failures(**kwargs: Any) -> None:
    from conversations.api.logins import forget_failures

    forget_failures(**kwargs)
