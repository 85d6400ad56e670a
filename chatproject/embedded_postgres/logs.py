"""The log files of a server: what stands at their end, and which are too old to keep.

`startup.log` has what the server says before it opens the day's `postgres-Mon.log`.
"""

import time
from pathlib import Path

DAYS_KEPT = 6  # the server empties a weekday's file a week later, but only if it runs at midnight
LINES_SHOWN = 15


def remove_old_logs(folder: Path) -> None:
    oldest = time.time() - DAYS_KEPT * 24 * 60 * 60
    for path in folder.glob("*.log"):
        if path.name == "startup.log" or path.stat().st_mtime < oldest:
            path.unlink()


def end_of_logs(folder: Path) -> str:
    """The last lines that the server wrote, whichever file they are in."""
    paths = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    text = "".join(path.read_text(errors="replace") for path in paths[-2:])
    return "\n".join(text.splitlines()[-LINES_SHOWN:])
