"""How long PostgreSQL lets a statement, a lock and a pause in a transaction take."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def with_limits(options: dict[str, Any], **seconds: float) -> dict[str, Any]:
    """OPTIONS of a database with these limits, by their PostgreSQL names; 0 is no limit.

    They travel with the start of each connection, so they need no statement of their own, and
    behind them come none of the session's state that a pooler would mix up. Without a limit
    nothing is sent: PgBouncer refuses `options` that it is not told to ignore.
    """
    limits = [f"-c {name}={round(value * 1000)}" for name, value in seconds.items() if value > 0]
    sent = " ".join([*([options["options"]] if options.get("options") else []), *limits])
    return options | ({"options": sent} if sent else {})


def limit_web_process() -> None:
    """For what serves requests, before it connects. Commands keep their own limits."""
    settings.DATABASES["default"]["OPTIONS"] = settings.DATABASE_WEB_OPTIONS
