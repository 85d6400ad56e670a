"""An installation that is disturbed: `quickstart` in a folder of its own, with its database."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2

from chatproject.embedded_postgres import database_settings
from conversations.tests.processes import children_of, free_port

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
STARTS_WITHIN, STOPS_WITHIN = 120, 60  # seconds, on a busy machine
_NONE: Mapping[str, str] = {}


class Installation:
    """`runs_in` is the start of a command line that the server's is appended to; `environment` is
    added to its environment."""

    def __init__(
        self, folder: Path, *, runs_in: Sequence[str] = (), environment: Mapping[str, str] = _NONE
    ) -> None:
        folder.chmod(0o711)  # root's PostgreSQL runs as another account
        self.folder, self.port = folder, free_port()
        self._runs_in, self._added = runs_in, environment

    def start(self) -> None:
        """As its service manager does."""
        arguments = ["--port", str(self.port), "--workers", str(WORKERS), "--no-sample"]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._runs_in, sys.executable, "manage.py", "quickstart", *arguments],
                cwd=ROOT,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"It does not start:\n{self.end_of_log()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/readyz")[0] == 200
        return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """All processes of the server and of the database, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGSTOP)  # none starts the database again meanwhile
        if postmaster := self.postmaster:
            signal_all([postmaster, *children_of(postmaster)], signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end_of_log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")[-3000:]

    def request(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        connection.request(method, path, body and json.dumps(body), headers if token else {})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return answer.status, found

    def create_token(self, user: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", "create_token", user],
            cwd=ROOT,
            env=self._environment() | {"DATABASE_URL": self._database_url()},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    @property
    def workers(self) -> list[int]:
        found: list[int] = children_of(*children_of(self.process.pid))
        return found

    @property
    def postmaster(self) -> int | None:
        file = self.path("postgres/data/postmaster.pid")
        with suppress(OSError, ValueError, IndexError):
            pid = int(file.read_text().split()[0])
            return pid if Path(f"/proc/{pid}").exists() else None
        return None

    def signal_postmaster(self, number: signal.Signals) -> None:
        signal_all([self.postmaster] if self.postmaster else [], number)

    @property
    def backends(self) -> list[int]:
        """The processes of the database that serve the web processes."""
        every = children_of(self.postmaster) if self.postmaster else []
        return [pid for pid in every if b"postgres: postgres chatproject" in _command_line(pid)]

    def path(self, name: str) -> Path:
        """In the folder as the server sees it, which may have a disk of its own."""
        return Path(f"/proc/{self.process.pid}/root{self.folder}") / name

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor of the database."""
        with closing(psycopg2.connect(self._database_url())) as connection:
            with connection.cursor() as cursor:
                yield cursor
            connection.commit()

    def _database_url(self) -> str:
        found = database_settings(self.folder / "postgres")
        inside = Path(found["HOST"])
        host = self.path("postgres/run") if inside.is_relative_to(self.folder) else inside
        return f"postgres://postgres@/{found['NAME']}?host={host}&port={found['PORT']}"

    def _environment(self) -> dict[str, str]:
        """A name that is set, even to nothing, is not taken from a .env file."""
        return os.environ | {
            "CHATPROJECT_DATA": str(self.folder),
            # What is acknowledged is in the files: the database is killed, too.
            "CHATPROJECT_DURABLE": "true",
            "DATABASE_URL": "",
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            "DEBUG": "false",
            "HTTPS": "false",
            "SECRET_KEY": "",
            "ALLOWED_HOSTS": "127.0.0.1",
            "LOG_LEVEL": "WARNING",
            **{f"THROTTLE_{kind}": "" for kind in ("READ", "WRITE", "SEARCH", "CHAT")},
            **self._added,
        }


@contextmanager
def installed(
    folder: Path, *, runs_in: Sequence[str] = (), environment: Mapping[str, str] = _NONE
) -> Iterator[Installation]:
    """One that has been started, stopped and removed afterwards."""
    installation = Installation(folder, runs_in=runs_in, environment=environment)
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
        _wait_until(lambda: installation.postmaster is None)
        shutil.rmtree(folder, ignore_errors=True)


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOPS_WITHIN
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
