"""The Django app."""

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Permissions themselves are made by post_migrate, ahead of this receiver: the app that
        # makes them stands earlier in INSTALLED_APPS.
        post_migrate.connect(_make_rows, sender=self)
        user_logged_in.connect(_forget_failures)


def _make_rows(**kwargs: Any) -> None:
    # Models can be imported only once all apps are loaded.
    from conversations.services.bootstrap import ensure_secret
    from conversations.services.groups import ensure_groups

    ensure_groups()
    ensure_secret()


def _forget_failures(**kwargs: Any) -> None:
    from conversations.api.logins import forget_failures

    forget_failures(**kwargs)
