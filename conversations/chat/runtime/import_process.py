"""Starts a process for the imports that wait: each web process looks every LOOK_SECONDS, and at
once where it has received a file.

In a process of its own an import takes no thread and no time of requests; whoever ends it, the next
look starts another, which takes it up.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

from django.conf import settings
from django.db import connection

from conversations.chat.runtime.shutdown import before_end
from conversations.services.import_runs import imports_wait_here
from conversations.services.import_uploads import remove_abandoned_uploads

LOOK_SECONDS = 20.0

log = logging.getLogger(__name__)

_look = threading.Event()


def look_for_imports() -> None:
    """Now, if this process does so at all."""
    _look.set()


def start_importing() -> threading.Event:
    """Look now and then, until this process ends or the event is set."""
    stopped = threading.Event()
    before_end(stopped.set)
    before_end(_look.set)
    threading.Thread(target=_look_until, args=(stopped,), name="imports", daemon=True).start()
    return stopped


def _look_until(stopped: threading.Event) -> None:
    process: subprocess.Popen[bytes] | None = None
    while not stopped.is_set():
        _look.clear()
        try:
            remove_abandoned_uploads()
            if (process is None or process.poll() is not None) and imports_wait_here():
                process = _start()
        except Exception as error:  # the database is unavailable: the next look finds them too
            log.warning("Imports were not looked for: %s", type(error).__name__)
        finally:
            connection.close()
        _look.wait(LOOK_SECONDS)
    if process is not None:
        process.terminate()


def _start() -> subprocess.Popen[bytes]:
    # The settings are those of the environment, as in this process.
    return subprocess.Popen(
        [sys.executable, "-m", "django", "run_imports"],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
