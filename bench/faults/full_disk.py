"""Appends with keys while the disk of the database is full, for three seconds of every ten; each
second time the database has to stop.

    .venv/bin/python -m bench.faults.full_disk [--seconds 60]

The database is on a disk of its own in memory, of DISK_MB. It is mounted in a mount namespace that
only the server is in: `unshare` makes it for root, or for any user where unprivileged user
namespaces are allowed (util-linux 2.38 or newer).
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from bench.faults.fault import Fault, arguments, disturb, report
from bench.faults.installation import Installation, installed

DISK_MB, FULL_SECONDS = 400, 3.0
MOUNT = f'mount -t tmpfs -o size={DISK_MB}m,mode=711 tmpfs "$0" && exec "$@"'
CANNOT_MOUNT = "A disk of its own needs root, or user namespaces for all users (see above)."


def on_small_disk(folder: Path) -> list[str]:
    """The start of the command line of a server whose `folder`/postgres is on the small disk."""
    disk = folder / "postgres"
    disk.mkdir(mode=0o711)
    if os.geteuid() == 0:
        return ["unshare", "--mount", "sh", "-c", MOUNT, str(disk)]
    # Root of its own user namespace may mount; the server then has the number of before again,
    # since root's PostgreSQL would run as another account, which this namespace does not have.
    user, group = f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"
    mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(disk)]
    return [*mounts, "unshare", "--user", user, group]


def can_mount(folder: Path) -> bool:
    with suppress(OSError):
        return not subprocess.run([*on_small_disk(folder), "true"], check=False).returncode
    return False


def fill(installation: Installation) -> None:
    """Statements fail."""
    with full(installation):
        time.sleep(FULL_SECONDS)


def fill_with_log(installation: Installation) -> None:
    """PostgreSQL cannot write its log, ends, and cannot start until there is room."""
    with full(installation):
        with suppress(psycopg2.OperationalError), installation.transaction() as cursor:
            for _ in range(DISK_MB):
                cursor.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 1000000))")
        time.sleep(FULL_SECONDS)


@contextmanager
def full(installation: Installation) -> Iterator[None]:
    ballast = installation.path("postgres/ballast")
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65_536))
        yield
    finally:
        ballast.unlink()


_kinds = itertools.cycle([fill, fill_with_log])

# Random text of this length, so that the database soon needs new pages.
FAULT = Fault(lambda installation: next(_kinds)(installation), every=7, padding=8_000)


def main() -> None:
    options = arguments(__doc__)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    runs_in = on_small_disk(folder)
    with installed(folder, runs_in=runs_in) as installation:
        outcome = disturb(installation, FAULT, options.seconds)
    sys.exit(report(outcome, FAULT))


if __name__ == "__main__":
    main()
