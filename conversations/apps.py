"""The Django app."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ConversationsConfig(AppConfig):
    name = "conversations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Permissions themselves are made by post_migrate, ahead of this receiver: the app that
        # makes them stands earlier in INSTALLED_APPS.
        post_migrate.connect(_make_rows, sender=self)


def _make_rows(**kwargs: Any) -> None:
    # Models can be imported only once all apps are loaded.
    from conversations.services.groups import ensure_groups
    from conversations.services.installation import ensure_secret

    ensure_groups()
    ensure_secret()
