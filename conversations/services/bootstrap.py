"""What a new installation gets once: a secret, an administrator and a sample to look at."""

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
    """Make the installation's secret where there is none; `migrate` does."""
    InstallationSecret.objects.get_or_create(
        pk=1, defaults={"value": secrets.token_bytes(SECRET_BYTES)}
    )


def find_admin() -> str | None:
    """The name of the longest-standing superuser; None says that this is the first run."""
    superusers = get_user_model().objects.filter(is_superuser=True).order_by("pk")
    return superusers.values_list("username", flat=True).first()


def create_admin() -> str | None:
    """Make the superuser `admin` and return its password, which only its owner then knows.

    None when the name is taken: an ordinary user of that name must not become a superuser.
    """
    users = get_user_model().objects
    if users.filter(username=ADMIN_NAME).exists():
        return None
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    users.create_superuser(username=ADMIN_NAME, password=password)
    return password


def load_sample() -> ImportReport:
    """Import the sample conversations as those of the user `sample`; again, it adds nothing."""
    owner = find_or_create_user(SAMPLE_OWNER)
    with SAMPLE_FILE.open("rb") as file:
        chats = list(READERS["json"](file))
    return import_conversations(chats=_moved_to_now(chats), owner_id=owner.pk, source="import:json")


def _moved_to_now(chats: list[Chat | Rejected]) -> list[Chat | Rejected]:
    """All times moved by one interval, so that the newest is now and the dashboard shows them.

    An import does not compare times, so that a later run still finds what the first one stored.
    """
    interval = timezone.now() - max(
        time for chat in chats if isinstance(chat, Chat) for time in _times_of(chat)
    )
    return [_moved(chat, interval) if isinstance(chat, Chat) else chat for chat in chats]


def _times_of(chat: Chat) -> list[datetime]:
    times = [chat.created_at, chat.updated_at, chat.archived_at]
    times += [message.created_at for message in chat.messages]
    return [time for time in times if time is not None]


def _moved(chat: Chat, interval: timedelta) -> Chat:
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
