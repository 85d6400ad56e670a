"""PostgreSQL timeouts of statements, lock waits and idle transactions."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def with_limits(options: dict[str, Any], **seconds: float) -> dict[str, Any]:
    """Database OPTIONS with these timeouts in seconds, by their PostgreSQL names; 0 is no limit.

    They are startup parameters of the connection, so they need no SET statement, whose session
    state a connection pooler would share between clients. Without limits no `options` are sent,
    which PgBouncer rejects unless configured to ignore them.
    """
    limits = [f"-c {name}={round(value * 1000)}" for name, value in seconds.items() if value > 0]
    sent = " ".join([*([options["options"]] if options.get("options") else []), *limits])
    return options | ({"options": sent} if sent else {})


def limit_web_process() -> None:
    """Use the timeouts of web processes; to be called before the first connection."""
    settings.DATABASES["default"]["OPTIONS"] = settings.DATABASE_WEB_OPTIONS
