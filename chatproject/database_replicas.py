"""The entries of DATABASES for the read replicas in DATABASE_REPLICA_URLS."""

from __future__ import annotations

from typing import Any

import environ

from chatproject.database_limits import with_limits

BACKEND = "conversations.db.replica_backend"
# A slower statement is cancelled there, and runs on the primary.
STATEMENT_SECONDS = 10.0
# A replica that cannot be reached is given up soon. In seconds, but for the last: milliseconds
# without an answer to what was sent.
CONNECT = {
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}


def replicas(
    urls: list[str], primary: dict[str, Any], *, statement_timeout: float
) -> dict[str, Any]:
    """The entries `replica_1` and so on, with the lifetime of the primary's connections.

    `statement_timeout` is that of web requests in seconds; 0 sends none.
    """
    seconds = min(STATEMENT_SECONDS, statement_timeout)
    return {
        f"replica_{number}": _entry(url, primary, seconds)
        for number, url in enumerate(urls, start=1)
    }


def _entry(url: str, primary: dict[str, Any], seconds: float) -> dict[str, Any]:
    given: dict[str, Any] = environ.Env.db_url_config(url)
    options = CONNECT | given.get("OPTIONS", {})
    return given | {
        "ENGINE": BACKEND,
        "CONN_MAX_AGE": primary["CONN_MAX_AGE"],
        # The question whether it has replayed enough is the check.
        "CONN_HEALTH_CHECKS": False,
        # A cursor of the server could not go over to the primary.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": with_limits(options, statement_timeout=seconds),
        "TEST": {"MIRROR": "default"},
    }
