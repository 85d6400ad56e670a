"""Where the socket of a server lies, and that its folders are closed to other users."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from .accounts import Account, name_of
from .errors import EmbeddedPostgresError

PORT = "5432"
LONGEST_SOCKET_PATH = 103  # bytes on macOS; Linux takes 107


def socket_folder(directory: Path) -> Path:
    """The folder of the socket: inside `directory` if that is short enough for a socket."""
    inside = directory / "run"
    path = os.fsencode(inside / f".s.PGSQL.{PORT}")
    # The driver takes a comma for the end of a host name.
    if len(path) <= LONGEST_SOCKET_PATH and b"," not in path:
        return inside
    # Not TMPDIR or XDG_RUNTIME_DIR: a login, a cron job and a service see different ones, and
    # each process must find the same socket.
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path("/tmp", f"chatproject-{name}")  # noqa: S108 - make_private() checks it


def make_private(folder: Path, account: Account) -> None:
    """Make `folder` for `account` alone; an error where somebody else was there first."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if account.is_another and _is_own(folder):  # root has just made or restored it
        account.own_tree(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{folder} must be a folder of {name_of(account.uid)} with mode drwx------, but it is "
            f"{stat.filemode(found.st_mode)} of {name_of(found.st_uid)}: another program or user "
            "made it. Remove it, or name another folder for the database in CHATPROJECT_DATA."
        )


def _is_own(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
