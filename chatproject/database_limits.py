"""Timeouts of database connections: of statements, lock waits, idle transactions, the network."""

from __future__ import annotations

from typing import Any

from django.conf import settings

# Parameters of libpq for connections over TCP, in seconds but for the last, which is in
# milliseconds. A database that the network cuts off is noticed within about 20 seconds, and again
# as soon afterwards; by the defaults of Linux a process may wait for minutes after the network is
# back, in which it shows no sign of life for its running turns.
NETWORK_TIMEOUTS: dict[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}


# After so many seconds requests no longer wait for the embedded server, which may take longer to
# recover from a crash.
EMBEDDED_SECONDS = 5.0


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
    if "EMBEDDED" in settings.DATABASES["default"]:
        settings.DATABASES["default"]["EMBEDDED"]["seconds"] = EMBEDDED_SECONDS
