"""Set up a new installation: its secret, an administrator and sample conversations."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from django.contrib.auth import get_user_model
from django.utils import timezone

from conversations.formats import READERS, Chat, Rejected
from conversations.models import InstallationSecret
from conversations.models.installation import SECRET_BYTES
from conversations.services.imports import ImportReport, import_conversations
from conversations.services.users import find_or_create_user

ADMIN_NAME = "admin"
SAMPLE_OWNER = "sample"
SAMPLE_FILE = Path(__file__).resolve().parent.parent / "sample" / "support_20.jsonl"

_PASSWORD_BYTES = 12  # 16 characters


def ensure_secret() -> None:
    """Create the secret of the installation if it does not exist. Called after `migrate`."""
    InstallationSecret.objects.get_or_create(
        pk=1, defaults={"value": secrets.token_bytes(SECRET_BYTES)}
    )


def find_admin() -> str | None:
    """The username of the superuser created first; None on the first run."""
    superusers = get_user_model().objects.filter(is_superuser=True).order_by("pk")
    return superusers.values_list("username", flat=True).first()


def create_admin() -> str | None:
    """Create the superuser `admin` and return its random password, which is stored only hashed.

    Returns None if a user of that name exists: they must not become a superuser.
    """
    users = get_user_model().objects
    if users.filter(username=ADMIN_NAME).exists():
        return None
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    users.create_superuser(username=ADMIN_NAME, password=password)
    return password


def load_sample() -> ImportReport:
    """Import the sample conversations for the user `sample`. Idempotent."""
    owner = find_or_create_user(SAMPLE_OWNER)
    with SAMPLE_FILE.open("rb") as file:
        chats = list(READERS["json"](file))
    return import_conversations(
        chats=_shifted_to_now(chats), owner_id=owner.pk, source="import:json"
    )


def _shifted_to_now(chats: list[Chat | Rejected]) -> list[Chat | Rejected]:
    """Shift all times by one interval, so that the newest is now and the dashboard has data.

    Imports do not compare times, so a repeated import still finds the stored conversations.
    """
    interval = timezone.now() - max(
        time for chat in chats if isinstance(chat, Chat) for time in _times_of(chat)
    )
    return [_shifted(chat, interval) if isinstance(chat, Chat) else chat for chat in chats]


def _times_of(chat: Chat) -> list[datetime]:
    times = [chat.created_at, chat.updated_at, chat.archived_at]
    times += [message.created_at for message in chat.messages]
    return [time for time in times if time is not None]


def _shifted(chat: Chat, interval: timedelta) -> Chat:
    def later(time: datetime | None) -> datetime | None:
        return None if time is None else time + interval

    return replace(
        chat,
        created_at=later(chat.created_at),
        updated_at=later(chat.updated_at),
        archived_at=later(chat.archived_at),
        messages=tuple(
            replace(message, created_at=later(message.created_at)) for message in chat.messages
        ),
    )
