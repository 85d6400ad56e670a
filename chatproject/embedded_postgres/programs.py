"""Runs one program of PostgreSQL to its end, as the account that owns the data."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .accounts import Account


@dataclass(frozen=True)
class Programs:
    """The programs in `folder`, run as `account`, each of them holding the lock `lock`."""

    folder: Path
    account: Account
    lock: int

    def run(self, name: str, *arguments: str) -> str | None:
        """None when all went well, otherwise what the program said."""
        done = subprocess.run(
            [self.folder / name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd="/",  # the caller's may be closed to the account
            env=_environment(),
            pass_fds=(self.lock,),
            start_new_session=True,  # Ctrl-C in the terminal is not for the server
            **self.account.process_options(),
        )
        return None if done.returncode == 0 else done.stdout.strip()


def _environment() -> dict[str, str]:
    # No more than is needed: the caller's holds secrets, and variables such as PGPORT change
    # what PostgreSQL does.
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in kept if name in os.environ}
