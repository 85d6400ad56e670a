"""What is measured against what: a database in a temporary folder, and both services on it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from bench.data import Size
from bench.processor import Service
from chatproject import embedded_postgres

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "baseline"
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
BASELINE_VENV = ROOT / ".venv" / "bench"
BASELINE_PYTHON = BASELINE_VENV / "bin" / "python"

OUR_DATABASE = "chatproject"  # as the embedded server names it
STARTS_WITHIN, STOPS_WITHIN = 120, 15  # seconds, on a busy machine


def install_baseline() -> None:
    """Install the baseline's packages into a folder of their own, unless they are there."""
    stamp = BASELINE_VENV / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Installing bench/requirements.txt into .venv/bench ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", BASELINE_VENV], check=True)
    quiet = ("--quiet", "--quiet", "--disable-pip-version-check", "--no-input")
    install: list[str | Path] = [
        BASELINE_PYTHON,
        "-m",
        "pip",
        "install",
        *quiet,
        "-r",
        REQUIREMENTS,
    ]
    subprocess.run(install, check=True)
    stamp.write_text(wanted)


@contextlib.contextmanager
def database(keep: Path | None = None) -> Iterator[tuple[dict[str, str], str]]:
    """A durable server with two databases: the environment of ours, the DSN of the baseline's.

    It is in the folder `keep`, if that is given, and else in one that is removed.
    """
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-")) if keep is None else keep.resolve()
    folder.chmod(0o711)  # root's PostgreSQL runs as another account
    server = embedded_postgres.server_at(folder / "postgres")
    try:
        server.acquire()
        at = f"host={server.socket_directory} port=5432 user=postgres"
        create_database(f"{at} dbname=postgres", "baseline")
        yield _environment(folder), f"{at} dbname=baseline"
    finally:
        server.release()
        if keep is None:
            _remove(folder)


def create_database(dsn: str, name: str) -> None:
    """An empty one, beside that of `dsn`, instead of any that is there."""
    with contextlib.closing(psycopg2.connect(dsn)) as admin:
        admin.autocommit = True
        for command in ("DROP DATABASE IF EXISTS", "CREATE DATABASE"):
            admin.cursor().execute(f"{command} {name}")


def _environment(folder: Path) -> dict[str, str]:
    """As in production. A name that is set, even to nothing, is not taken from a .env file."""
    return os.environ | {
        "CHATPROJECT_DATA": str(folder),
        "CHATPROJECT_DURABLE": "true",
        "DATABASE_URL": "",
        "DEBUG": "false",
        "HTTPS": "false",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
        "SECRET_KEY": "",
        "ALLOWED_HOSTS": "127.0.0.1",
        **{f"THROTTLE_{kind}": "" for kind in ("READ", "WRITE", "SEARCH", "CHAT")},
    }


def _remove(folder: Path) -> None:
    """Remove the folder once the last process has stopped the server in it."""
    deadline = time.monotonic() + STOPS_WITHIN
    while any(folder.rglob("postmaster.pid")) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def seed(environment: dict[str, str], dsn: str, size: Size) -> list[dict[str, Any]]:
    """Make the tables of both and fill them; the users with their tokens and conversations."""
    python = sys.executable
    migrate(environment)
    subprocess.run([BASELINE_PYTHON, "main.py"], cwd=BASELINE, env=_baseline(dsn), check=True)
    numbers = map(str, (size.users, size.conversations, size.messages))
    fill = [python, "-m", "bench.seed", dsn, *numbers]
    done = subprocess.run(fill, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    users: list[dict[str, Any]] = json.loads(done.stdout)
    return users


def migrate(environment: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def filled(environment: dict[str, str], what: str, sizes: dict[int, int]) -> Any:
    """What `bench/growth_data.py` has made."""
    print(f"Filling: {what} {', '.join(f'{size:,}' for size in sizes)} ...", file=sys.stderr)
    command = [sys.executable, "-m", "bench.growth_data", what, json.dumps(sizes)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


@contextlib.contextmanager
def ours(environment: dict[str, str], workers: int, log: Path | None = None) -> Iterator[Service]:
    """This project as `quickstart` serves it; its log lines are kept in `log`."""
    port = _free_port()
    command = [sys.executable, "manage.py", "quickstart", "--no-sample"]
    command += [f"--port={port}", f"--workers={workers}"]
    with _running(command, ROOT, environment, port, log) as process:
        yield Service(port, process.pid, OUR_DATABASE, _server(environment))


@contextlib.contextmanager
def baseline(environment: dict[str, str], dsn: str, workers: int) -> Iterator[Service]:
    """The baseline under its usual server."""
    port = _free_port()
    command = [BASELINE_PYTHON, "-m", "uvicorn", "main:app", "--host=127.0.0.1"]
    command += [f"--port={port}", f"--workers={workers}"]
    with _running(command, BASELINE, _baseline(dsn), port) as process:
        yield Service(port, process.pid, "baseline", _server(environment))


def _server(environment: dict[str, str]) -> int:
    """The first process of the embedded database server; 0 where another one is used."""
    noted = Path(environment["CHATPROJECT_DATA"]) / "postgres" / "data" / "postmaster.pid"
    return int(noted.read_text().split()[0]) if noted.exists() else 0


def _baseline(dsn: str) -> dict[str, str]:
    fields = dict(field.split("=", 1) for field in dsn.split())
    address = "postgresql+psycopg2://{user}@/{dbname}?host={host}&port={port}"
    return os.environ | {"BASELINE_DATABASE_URL": address.format(**fields)}


@contextlib.contextmanager
def _running(
    command: list[Any], folder: Path, env: dict[str, str], port: int, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    # Both write a line a request, which mostly nobody reads here.
    with (log or Path(os.devnull)).open("ab") as lines:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=lines,
            start_new_session=True,
        )
    try:
        _wait_for(process, port)
        yield process
    finally:
        _stop(process)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"It did not start: {process.args!r}")
        time.sleep(0.1)


def _is_ready(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        client.request("GET", "/readyz")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and after a while end it with all of its workers."""
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
