"""The operating-system account that the server runs as, and the permissions of its files.

An ordinary user runs the server directly. PostgreSQL refuses to run as root: then it runs as the
owner of the data, or as the system account `pgserver`, which is made when there is none.
"""

import logging
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import EmbeddedPostgresError

SYSTEM_ACCOUNT = "pgserver"
# Debian, Fedora and most others have the first; Alpine and BusyBox only the second.
MAKE_ACCOUNT = (
    ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
     "--shell", "/usr/sbin/nologin", SYSTEM_ACCOUNT],
    ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", SYSTEM_ACCOUNT],
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """A user and group by number: the data may belong to one that has no name on this machine."""

    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        return self.uid != os.geteuid()

    def process_options(self) -> dict[str, Any]:
        """For subprocess.run: run as this account, without the groups of the caller."""
        if not self.is_another:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.is_another:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, folder: Path) -> None:
        """Own everything in `folder` and, last, so that an interruption shows, the folder."""
        for parent, folders, files in os.walk(folder, topdown=False):
            for name in folders + files:
                self.own(Path(parent, name))
        self.own(folder)

    def missing(self, permission: int, found: os.stat_result) -> int:
        """The mode bits that this account lacks for 4 (read), 1 (run or enter) or 5 (both)."""
        if self.uid == found.st_uid:
            permission <<= 6
        elif self.gid == found.st_gid:
            permission <<= 3
        return permission & ~found.st_mode


def account_for(directory: Path, data: Path) -> Account:
    """Who the server of `data` runs as: this process's user, or for root the data's owner."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for path in (data, directory):
        if path.exists() and (found := path.stat()).st_uid != 0:
            return _of_owner(found)
    return _system_account()


def refuse_other_owner(data: Path) -> None:
    """An error where `data` belongs to somebody whom this process cannot run PostgreSQL as."""
    if os.geteuid() == 0 or not data.exists() or data.stat().st_uid == os.geteuid():
        return
    owner = name_of(data.stat().st_uid)
    raise EmbeddedPostgresError(
        f"The embedded database in {data} belongs to {owner}, and this process runs as "
        f"{name_of(os.geteuid())}. Run it as {owner} or as root, or name another folder in "
        "CHATPROJECT_DATA."
    )


def make_private(folder: Path, account: Account) -> None:
    """Make `folder` for `account` alone; an error where another account owns it already."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if account.is_another and _is_folder_of_this_user(folder):  # root has just made or restored it
        account.own_tree(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{folder} must be a folder of {name_of(account.uid)} with mode drwx------, but it is "
            f"{stat.filemode(found.st_mode)} of {name_of(found.st_uid)}: another program or user "
            "made it. Remove it, or name another folder for the database in CHATPROJECT_DATA."
        )


def let_pass(account: Account, targets: Iterable[Path]) -> None:
    """Let `account` enter the folders above `targets`."""
    # A virtual environment or project under /root (mode 0700) is closed to every other account.
    # Only the right to pass through is given (o+x): with it nobody can list the folder, nor read
    # a file in it that is itself closed.
    for folder in {parent for target in targets for parent in target.parents}:
        if _grant(account, stat.S_IXOTH, folder):
            logger.warning("%s: let other accounts pass through (o+x) for PostgreSQL", folder)


def let_read(account: Account, folders: Iterable[Path]) -> None:
    """Let `account` use the wheel's files, where pip ran with umask 077."""
    for folder in folders:
        paths = [folder, *folder.rglob("*")] if folder.exists() else []
        # Whatever the owner may do: read, and run what is a program.
        closed = [path for path in paths if _grant(account, path.stat().st_mode >> 6 & 5, path)]
        if closed:
            logger.warning("%s: let other accounts read %d paths in it", folder, len(closed))


def _grant(account: Account, permission: int, path: Path) -> bool:
    """Whether it took a change of the mode."""
    found = path.stat()
    missing = account.missing(permission, found)
    if missing:
        path.chmod(stat.S_IMODE(found.st_mode) | missing)
    return missing != 0


def _system_account() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        _make_system_account()
        entry = pwd.getpwnam(SYSTEM_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def _make_system_account() -> None:
    command = next((command for command in MAKE_ACCOUNT if shutil.which(command[0])), None)
    done = command and subprocess.run(command, capture_output=True, text=True, check=False)
    if not done or done.returncode:
        raise EmbeddedPostgresError(
            "PostgreSQL does not run as root, and the system account "
            f"{SYSTEM_ACCOUNT} could not be made: {done.stderr.strip() if done else 'no useradd'}. "
            "Make that account, or run this as an ordinary user."
        )


def _of_owner(found: os.stat_result) -> Account:
    try:
        return Account(found.st_uid, pwd.getpwuid(found.st_uid).pw_gid)
    except KeyError:  # from another machine or image, on a volume
        return Account(found.st_uid, found.st_gid)


def name_of(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _is_folder_of_this_user(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
