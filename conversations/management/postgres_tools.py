"""pg_dump and pg_restore of the right version, connected as Django is.

Programs of another major version than the server's may write or send what it does not know: those
of its own version are taken where there are any, else the next newer ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError
from django.db import connection
from psycopg2.extensions import make_dsn

from chatproject.embedded_postgres import EmbeddedPostgresError
from chatproject.embedded_postgres.programs import shipped
from conversations.management.arguments import USAGE_ERROR

# By which the sessions of these programs are found.
APPLICATION_NAME = "chatproject backup"
NO_PROGRAM = (
    "{name} of PostgreSQL {version} or newer is needed, and there is {found}. Install it, as by "
    "`apt install postgresql-client-{version}`, and have it on PATH."
)
FAILED = "{name} has failed (status {status}): {reason}"
LOOK_SECONDS = 0.2
# Where Debian has the programs of each version.
OF_DEBIAN = Path("/usr/lib/postgresql")
# Secrets of a connection, by the variable that tells libpq: nobody reads them in a list of
# processes.
SECRETS = {"password": "PGPASSWORD"}
# Of Django and psycopg2, not of libpq; and time limits, which a long dump must not have.
NOT_OF_LIBPQ = {"client_encoding", "cursor_factory", "isolation_level", "options", "sslpassword"}


@dataclass(frozen=True, slots=True)
class Program:
    """One of PostgreSQL's programs and its major version."""

    path: Path
    version: int


def find_program(name: str) -> Program:
    """For the server of the default database. Raises CommandError, which says what to install."""
    server = connection.pg_version // 10_000  # type: ignore[attr-defined]
    known = list(_programs(name))
    fitting = [one for one in known if one.version >= server]
    if not fitting:
        found = ", ".join(str(one.version) for one in known) or "none"
        text = NO_PROGRAM.format(name=name, version=server, found=found)
        raise CommandError(text, returncode=USAGE_ERROR)
    return min(fitting, key=lambda one: one.version)


def run_program(
    program: Program,
    *arguments: str,
    database: str | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Run it on a database of this server (by default Django's), calling `on_wait` now and then.

    It ends with this process's block: an exception, such as Ctrl-C, ends it first. Raises
    CommandError with what it said.
    """
    parameters, secrets = _connection(database)
    process = subprocess.Popen(
        [program.path, f"--dbname={make_dsn(**parameters)}", "--no-password", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        env=_environment(secrets),
        start_new_session=True,  # Ctrl-C is for this process, which ends it
    )
    assert process.stderr is not None
    try:
        # Its messages are few; one that fills a pipe is read while it is waited for.
        said = _wait(process, on_wait)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stderr.close()
    if process.returncode:
        text = FAILED.format(name=program.path.name, status=process.returncode, reason=said)
        raise CommandError(text, returncode=USAGE_ERROR)


def contents(program: Program, archive: Path) -> str:
    """What `pg_restore --list` says of a file. Raises CommandError."""
    done = subprocess.run(
        [program.path, "--list", archive],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=_environment({}),
    )
    if done.returncode:
        reason = done.stderr.strip()
        text = FAILED.format(name=program.path.name, status=done.returncode, reason=reason)
        raise CommandError(text, returncode=USAGE_ERROR)
    return done.stdout


def _wait(process: subprocess.Popen[bytes], on_wait: Callable[[], None]) -> str:
    while True:
        try:
            _, said = process.communicate(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            on_wait()
        else:
            return said.decode(errors="replace").strip()


def _programs(name: str) -> Iterator[Program]:
    """On PATH, in OF_DEBIAN, and in the wheel of the embedded server."""
    folders = [*OF_DEBIAN.glob("*/bin"), *_of_wheel()]
    on_path = shutil.which(name)
    for path in [*([Path(on_path)] if on_path else []), *(folder / name for folder in folders)]:
        if path.exists() and (version := _version_of(path)):
            yield Program(path, version)


def _of_wheel() -> list[Path]:
    try:
        return list(shipped().values())
    except EmbeddedPostgresError:
        return []


def _version_of(path: Path) -> int | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    return int(found[1]) if found else None


def _connection(database: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """libpq's parameters, and the environment with the rest."""
    given = connection.get_connection_params()
    secrets = {SECRETS[name]: str(given.pop(name)) for name in SECRETS if given.get(name)}
    parameters = {name: value for name, value in given.items() if name not in NOT_OF_LIBPQ}
    parameters |= {"dbname": database} if database else {}
    return parameters, secrets


def _environment(secrets: dict[str, str]) -> dict[str, str]:
    # A file of passwords or a service, which a URL without a password relies on, stays valid.
    return {**os.environ, "LC_ALL": "C", "PGAPPNAME": APPLICATION_NAME} | secrets
