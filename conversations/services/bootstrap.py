"""What a new installation gets once: an administrator and a sample to look at."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.contrib.auth import get_user_model

from conversations.formats import READERS
from conversations.services.imports import ImportReport, import_conversations
from conversations.services.users import find_or_create_user

ADMIN_NAME = "admin"
SAMPLE_OWNER = "sample"
SAMPLE_FILE = Path(__file__).resolve().parent.parent / "sample" / "sgd_20.openai.jsonl"

_PASSWORD_BYTES = 12  # 16 characters


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
        return import_conversations(
            chats=READERS["openai"](file), owner_id=owner.pk, source="import:openai"
        )
