"""How far the write-ahead log (WAL) had come after the last write to each user's data.

Kept only where replicas are configured: a replica that has replayed so much shows all of that
user's data as it is. Positions are bytes of the log (`pg_lsn - '0/0'`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import NamedTuple

from django.conf import settings
from django.db import connection

_LSN = "(pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
# Columns of any statement on the primary, for `required`: the WAL file, which names the timeline,
# and the position now. Null on a server that has become a standby.
PRIMARY_COLUMNS = f"""
    CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END,
    CASE WHEN NOT pg_is_in_recovery() THEN {_LSN} END
"""
_READ = f"""
    SELECT {PRIMARY_COLUMNS}, (
        SELECT position FROM conversations_writeposition WHERE user_id = %s
    )
"""  # noqa: S608 (no value comes from outside)
# Never back, unless it is that of another server, whose dump was restored into this one: such a
# position may be beyond this server's log. Who was erased meanwhile has none.
_KEEP = f"""
    INSERT INTO conversations_writeposition AS kept (user_id, position)
    SELECT id, {_LSN} FROM auth_user WHERE id = ANY(%s) ORDER BY id
    ON CONFLICT (user_id) DO UPDATE
        SET position = GREATEST(EXCLUDED.position, LEAST(kept.position, {_LSN}))
"""  # noqa: S608 (no value comes from outside)


class Required(NamedTuple):
    """What a replica must have: the primary's timeline, and `lsn` replayed. One that has not even
    `floor` lags, whoever asks."""

    timeline: str
    lsn: int
    floor: int


def keep_positions(user_ids: Collection[int]) -> None:
    """Store the position now as that of the last write to the data of these users.

    After the commit of the write, and before anybody is told of it. One statement, which holds
    the rows no longer than its own commit takes.
    """
    if user_ids:
        with connection.cursor() as cursor:
            cursor.execute(_KEEP, [sorted(user_ids)])


def read_required(user_id: int | None) -> Required | None:
    """What a replica must have to show this user's data as it is now; everything that is written
    by now for None. One statement on the primary."""
    with connection.cursor() as cursor:
        cursor.execute(_READ, [user_id])
        wal_file, now, kept = cursor.fetchone()
    return required(wal_file, now, now if user_id is None else kept)


def required(wal_file: str | None, now: int | None, kept: int | None) -> Required | None:
    """The same from PRIMARY_COLUMNS and the user's stored position; None where no replica will
    do."""
    if wal_file is None or now is None:
        return None
    # What is written without a position (by commands, by hand) is seen after a while, too.
    age, seen = _history.look_back(now)
    lags = age > settings.DATABASE_REPLICA_MAX_LAG_SECONDS / 2
    lsn = max(min(kept or 0, now), seen)
    return Required(timeline=wal_file[:8], lsn=lsn, floor=seen if lags else 0)


class _History:
    """Two earlier positions of the primary, which tell how old a replica's state is without its
    clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Times (monotonic, in seconds) and positions.
        self._older = self._newer = (float("-inf"), 0)

    def look_back(self, now: int) -> tuple[float, int]:
        """The age in seconds, at most DATABASE_REPLICA_MAX_LAG_SECONDS, and the position of one
        that was seen; `now` itself where none was seen since then."""
        moment, most = time.monotonic(), settings.DATABASE_REPLICA_MAX_LAG_SECONDS
        with self._lock:
            age = moment - self._newer[0]
            if age > most:
                self._older = self._newer = (moment, now)
            elif age > most / 2:
                self._older, self._newer = self._newer, (moment, now)
            seen, position = self._older
        return moment - seen, position


_history = _History()
