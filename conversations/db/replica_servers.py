"""The replicas as this process knows them: which of them answer, and which has replayed enough."""

from __future__ import annotations

import logging
import random
import threading
import time
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.db.time_limits import at_most
from conversations.db.write_positions import Required

# How often a replica that is away is asked whether it is back.
RETRY_SECONDS = 3.0
ANSWER_SECONDS = 2.0

STANDBY = "it is no standby of the primary"
OTHER_TIMELINE = "it follows timeline {theirs} and the primary is on {ours}"
BEHIND = "it lags by more than {seconds:.0f} seconds"

# The timeline is that of the last restart point: after a failover a replica is used again once it
# has made one on the new timeline.
_ASK = """
    SELECT pg_is_in_recovery(), lpad(upper(to_hex(timeline_id)), 8, '0'),
        (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint
    FROM pg_control_checkpoint()
"""
# SQLSTATEs of a server that ends or has no room: classes 08, 53, 57P and 58 of the manual's
# Appendix A. Without one, the connection broke.
_LOST = ("08", "53", "57P", "58")

log = logging.getLogger(__name__)


class _State(NamedTuple):
    is_standby: bool
    timeline: str
    replayed: int | None


class Replica:
    """One replica."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._lock = threading.Lock()
        self._away = False
        self._retry_at = 0.0

    def has(self, required: Required) -> bool:
        """Whether it can be read: it answers, follows the primary and has replayed enough."""
        if not self._away:
            return self._replayed(required) >= required.lsn
        if self._is_due():
            # No request waits for the answer of one that is away.
            name = f"ask-{self.alias}"
            threading.Thread(target=self._try, args=[required], name=name, daemon=True).start()
        return False

    def leave(self, why: str) -> None:
        """Not to be read; it is asked again in RETRY_SECONDS."""
        with self._lock:
            was_away, self._away = self._away, True
            self._retry_at = time.monotonic() + RETRY_SECONDS
        if not was_away:
            log.warning("%s is not read until it is back: %s", self.alias, why)

    def _is_due(self) -> bool:
        with self._lock:
            due = time.monotonic() >= self._retry_at
            if due:
                self._retry_at = time.monotonic() + RETRY_SECONDS
        return due

    def _try(self, required: Required) -> None:
        try:
            if self._replayed(required) >= 0:
                self._away = False
                log.info("%s is read again", self.alias)
        finally:
            connections[self.alias].close()

    def _replayed(self, required: Required) -> int:
        """How far it has replayed; -1 where it is not to be read, and then it is left."""
        try:
            state = self._ask()
        except (DatabaseError, InterfaceError) as error:
            connections[self.alias].close()
            self.leave(_first_line(error))
            return -1
        if problem := _problem(state, required):
            self.leave(problem)
            return -1
        return state.replayed or 0

    def _ask(self) -> _State:
        """A connection that was open may have broken with a server that is back by now."""
        connection = connections[self.alias]
        was_open, began = connection.connection is not None, time.monotonic()
        try:
            return _state_of(connection)
        except (DatabaseError, InterfaceError):
            connection.close()
            if not was_open or time.monotonic() - began >= ANSWER_SECONDS:
                raise
        return _state_of(connection)


def _state_of(connection: BaseDatabaseWrapper) -> _State:
    # Past the cursor of Django, which would fall back to the primary.
    connection.ensure_connection()
    raw = connection.connection
    with connection.wrap_database_errors, at_most(ANSWER_SECONDS, raw), raw.cursor() as cursor:
        cursor.execute(_ASK)
        return _State(*cursor.fetchone())


def _problem(state: _State, required: Required) -> str:
    """Why it must not be read, whoever asks."""
    if not state.is_standby:
        return STANDBY
    if state.timeline != required.timeline:
        return OTHER_TIMELINE.format(theirs=state.timeline, ours=required.timeline)
    if (state.replayed or 0) < required.floor:
        return BEHIND.format(seconds=settings.DATABASE_REPLICA_MAX_LAG_SECONDS / 2)
    return ""


def choose(required: Required) -> str:
    """The alias of a replica that has what is required, else of the primary."""
    aliases: list[str] = settings.DATABASE_REPLICAS
    start = random.randrange(len(aliases))  # noqa: S311 (spreads the reads)
    for alias in aliases[start:] + aliases[:start]:
        if replica(alias).has(required):
            return alias
    return DEFAULT_DB_ALIAS


def note_failure(connection: BaseDatabaseWrapper, error: Exception) -> None:
    """A statement on a replica failed. Where the replica is lost, it is left alone for a while;
    elsewhere it was a conflict with what it replays, its timeout, or the statement's own fault."""
    raw = connection.connection
    sqlstate = getattr(error.__cause__, "pgcode", None) or ""
    if raw is None or raw.closed or not sqlstate or sqlstate.startswith(_LOST):
        connection.close()
        replica(connection.alias).leave(_first_line(error))


@cache
def replica(alias: str) -> Replica:
    """The one object of this process for `alias`."""
    return Replica(alias)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
