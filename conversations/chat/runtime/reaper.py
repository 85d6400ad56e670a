"""Ends abandoned answers and tends the feed of changes: each web process does so every
REAP_SECONDS, or more often where CHAT_TURN_STALE_SECONDS is shorter.

So the answer of a process that died is `interrupted` and found by search within a minute, whether
or not anybody asks for it; and changes get their place and are removed when they are old, whether
or not anybody reads them. Any number of processes may do so at once.
"""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import connection

from conversations import metrics
from conversations.chat.runtime.process_liveness import is_dead
from conversations.chat.runtime.shutdown import before_end
from conversations.services.abandoned_turns import interrupt_all_abandoned
from conversations.services.changes import remove_old_changes, sequence_changes

REAP_SECONDS = 20.0

log = logging.getLogger(__name__)


def reap() -> int:
    """End all abandoned answers now; how many those were."""
    ended = interrupt_all_abandoned(is_dead=is_dead)
    if ended:
        metrics.count_abandoned(ended)
        log.info("Interrupted answers of processes that ended: %d", ended)
    return ended


def tend_changes() -> None:
    """Give pending changes their positions, and remove old ones."""
    while sequence_changes() or remove_old_changes():
        pass


def start_reaping(seconds: float | None = None) -> threading.Event:
    """Reap now and then every so many seconds, until this process ends or the event is set."""
    seconds = seconds or min(REAP_SECONDS, settings.CHAT_TURN_STALE_SECONDS)
    stopped = threading.Event()
    before_end(stopped.set)
    threading.Thread(
        target=_reap_until, args=(stopped, seconds), name="reaper", daemon=True
    ).start()
    return stopped


def _reap_until(stopped: threading.Event, seconds: float) -> None:
    while not stopped.is_set():
        try:
            reap()
            tend_changes()
        except Exception as error:  # the database is unavailable: the next look finds them too
            log.warning("Abandoned answers were not looked for: %s", type(error).__name__)
        finally:
            connection.close()
        stopped.wait(seconds)
