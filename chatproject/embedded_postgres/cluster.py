"""The files of a server: its data directory, made whole or not at all, and its logs.

`log/startup.log` has what the server says before it opens the day's `log/postgres-Mon.log`.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from .accounts import Account
from .errors import EmbeddedPostgresError
from .programs import Run

# Text sorts by code point, which every PostgreSQL release and every machine agree on, so that no
# upgrade of the system's locales corrupts an index. Upper and lower case and the words of a full
# text search are Unicode's: with plain C, "。" and "—" would count as letters and join words.
TEXT = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")

# Defaults that an operator may change in data/postgresql.conf. The log is one file for each day
# of the week. It holds no statement and no row: those would be people's messages.
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

DAYS_KEPT = 6  # the server empties a weekday's file a week later, but only if it runs at midnight
LINES_SHOWN = 15


def version_of(data: Path) -> str | None:
    """The major version of PostgreSQL that made `data`; None where there is no data yet."""
    try:
        return (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None


def make_cluster(data: Path, account: Account, run: Run, *, durable: bool) -> None:
    """Make `data`. It is made beside its place and renamed, since a killed initdb leaves half."""
    for unfinished in data.parent.glob("data.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="data.new-", dir=data.parent))
    account.own(new)
    failure = run("initdb", *_initdb_options(new, durable))
    if failure is not None:
        raise EmbeddedPostgresError(f"PostgreSQL could not make its data in {data}.", log=failure)
    new.rename(data)
    _flush(data.parent)


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


def _initdb_options(data: Path, durable: bool) -> list[str]:
    options = [f"--pgdata={data}", "--username=postgres", "--auth=trust", "--data-checksums"]
    options += TEXT
    if not durable:
        options.append("--no-sync")
    return options + [f"--set={name}={value}" for name, value in SETTINGS.items()]


def _flush(folder: Path) -> None:
    # The rename must outlast a power cut just as the rows that follow it.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
