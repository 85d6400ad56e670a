"""Which settings are unsafe where others can reach the server: HTTPS=true says that they can."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# As Django's check security.W009 has them.
MIN_KEY_CHARS, MIN_DIFFERENT_CHARS = 50, 5

DEBUG_ON = "DEBUG=true shows settings, source text and rows to whoever causes an error: unset it."
SHORT_KEY = (
    f"SECRET_KEY has fewer than {MIN_KEY_CHARS} characters, or hardly different ones, and can be "
    "guessed: who does signs sessions. Unset it, and one is generated, or set a random one."
)
ALL_HOSTS = (
    "ALLOWED_HOSTS=* answers to any name, which a client can then put into links: list the names "
    "of this server."
)
REFUSED = "Refused to start with HTTPS=true, which is for production:\n{problems}"


def unsafe_settings() -> list[str]:
    """What is wrong, each with what to do; whatever HTTPS is."""
    key: str = settings.SECRET_KEY
    is_short = len(key) < MIN_KEY_CHARS or len(set(key)) < MIN_DIFFERENT_CHARS
    found: list[tuple[Any, str]] = [
        (settings.DEBUG, DEBUG_ON),
        (is_short or key.startswith("django-insecure-"), SHORT_KEY),
        ("*" in settings.ALLOWED_HOSTS, ALL_HOSTS),
    ]
    return [text for is_wrong, text in found if is_wrong]


def refuse_unsafe_settings() -> None:
    """For what serves, in production. Raises ImproperlyConfigured."""
    if settings.HTTPS and (problems := unsafe_settings()):
        raise ImproperlyConfigured(REFUSED.format(problems="\n".join(f"- {p}" for p in problems)))
