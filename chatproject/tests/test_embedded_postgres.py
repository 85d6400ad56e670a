"""Real servers in temporary folders, shared by real processes that come, go and get killed."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest

from chatproject.embedded_postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    database_settings,
    server_at,
)
from chatproject.embedded_postgres.accounts import account_for, refuse_other_owner
from chatproject.embedded_postgres.server import LONGEST_SOCKET_PATH
from conversations.process_locks import locked, start_lock

REPOSITORY = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0

CLIENT = """
import sys
from pathlib import Path
from chatproject.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.acquire()
print("ready", flush=True)
sys.stdin.read()
"""

CYCLES = """
import sys
from pathlib import Path
import psycopg2
from chatproject.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
for _ in range(5):
    server.acquire()
    host = str(server.socket_directory)
    psycopg2.connect(host=host, user="postgres", dbname="chatproject").close()
    server.release()
"""

# In a process of its own: the test runner has threads, which a fork does not suit.
FORKS = """
import os, signal, sys
from pathlib import Path
from chatproject.embedded_postgres import EmbeddedPostgres
file = Path(sys.argv[1]) / "data/postmaster.pid"
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.acquire()
started = file.read_text()
for use in (lambda: None, server.acquire):
    if (child := os.fork()) == 0:
        use()
        server.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert file.read_text() == started
if (idle := os.fork()) == 0:
    signal.pause()
server.release()
os.kill(idle, signal.SIGKILL)
assert not file.exists()
print("done")
"""

MULTIPROCESSING = """
import multiprocessing, sys
from pathlib import Path
from chatproject.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
child = multiprocessing.get_context("fork").Process(target=server.acquire)
child.start()
child.join()
assert (Path(sys.argv[1]) / "data/PG_VERSION").exists()
assert not (Path(sys.argv[1]) / "data/postmaster.pid").exists()
print("done")
"""

DJANGO = """
import os, signal, sys
from pathlib import Path
import django
from django.conf import settings
from django.db import connection
from chatproject.embedded_postgres import database_settings
folder = Path(sys.argv[1])
settings.configure(DATABASES={"default": database_settings(folder, durable=False)})
django.setup()
assert not folder.exists()
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
connection.close()
os.kill(int((folder / "data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
with connection.cursor() as cursor:
    cursor.execute("SELECT current_database()")
    print(cursor.fetchone()[0])
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    print(name)
    connection.creation.destroy_test_db("chatproject", verbosity=0)
"""


@pytest.fixture
def folder():
    """A folder that does not exist yet; the server in it, if one is left, is stopped."""
    parent = Path(tempfile.mkdtemp(prefix="pg-"))
    yield parent / "postgres"
    if pid := postmaster(parent / "postgres"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not (parent / "postgres/data/postmaster.pid").exists())
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture(scope="module")
def template():
    """A stopped server's data, made once: most tests are not about making it."""
    parent = Path(tempfile.mkdtemp(prefix="pg-"))
    server = EmbeddedPostgres(parent / "postgres", durable=False)
    server.acquire()
    server.release()
    yield parent / "postgres/data"
    shutil.rmtree(parent)


@pytest.fixture
def server(folder, template):
    shutil.copytree(template, folder / "data")
    server = EmbeddedPostgres(folder, durable=False)
    yield server
    server.release()


class Client:
    """Another process that holds a share until it is told to leave."""

    def __init__(self, folder, script=CLIENT):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"
        return self

    def leave(self):
        output, _ = self.process.communicate()
        assert self.process.returncode == 0
        return output

    def kill(self):
        self.process.kill()
        self.process.communicate()


def postmaster(folder):
    """The process number of the running server, or None."""
    try:
        return int((folder / "data/postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return None


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def query(server, *statements):
    """The first column of the first row of the last statement."""
    host = str(server.socket_directory)
    with closing(psycopg2.connect(host=host, user="postgres", dbname="chatproject")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchone()[0]


def test_starts_on_demand_and_answers_on_a_private_socket_only(folder):
    server = EmbeddedPostgres(folder, durable=False)
    assert not folder.exists()
    server.acquire()
    assert query(server, "SHOW listen_addresses") == ""
    assert query(server, "SHOW timezone") == "UTC"
    assert query(server, "SHOW data_checksums") == "on"
    assert query(server, "SELECT 'É' ILIKE 'é' AND 'Z' < 'a'") is True
    words = "SELECT to_tsvector('simple', '日本語。東京 мир—да')::text"
    assert query(server, words) == "'да':4 'мир':3 '日本語':1 '東京':2"
    sockets = server.socket_directory
    assert stat.S_IMODE((sockets / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    server.release()
    assert postmaster(folder) is None


def test_root_opens_the_folders_above_for_passing_through_only(server, folder):
    server.acquire()
    assert stat.S_IMODE(folder.parent.stat().st_mode) == (0o701 if IS_ROOT else 0o700)
    owner = account_for(folder, folder / "data").uid
    assert (folder / "data").stat().st_uid == owner
    assert (owner == os.geteuid()) is not IS_ROOT


def log_once_it_has(folder, text):
    """The server's log. Its collector writes after the client has had its error."""
    deadline = time.monotonic() + 20
    while True:
        log = "".join(path.read_text() for path in (folder / "log").glob("*.log"))
        if text in log:
            return log
        assert time.monotonic() < deadline, log
        time.sleep(0.05)


def test_the_log_keeps_no_statement_and_no_row(server, folder):
    server.acquire()
    with pytest.raises(psycopg2.errors.UniqueViolation):
        query(
            server,
            "CREATE TABLE secrets (word text PRIMARY KEY)",
            "INSERT INTO secrets VALUES ('hush')",
            "INSERT INTO secrets VALUES ('hush')",
        )
    assert "hush" not in log_once_it_has(folder, "duplicate key")


def test_the_last_process_to_leave_stops_it(folder):
    first = Client(folder).ready()
    pid = postmaster(folder)
    second = Client(folder).ready()
    assert postmaster(folder) == pid
    first.leave()
    assert postmaster(folder) == pid
    second.leave()
    assert postmaster(folder) is None


def test_many_that_come_at_once_get_one_server(folder):
    folder.mkdir()
    (folder / "data.new-killed").mkdir()  # what a killed initdb leaves
    clients = [Client(folder) for _ in range(6)]
    for client in clients:
        client.ready()
    log = "".join(path.read_text() for path in (folder / "log").glob("postgres-*.log"))
    assert log.count("ready to accept connections") == 1
    for client in clients:
        client.leave()
    assert postmaster(folder) is None
    assert not list(folder.glob("data.new-*"))


def test_nobody_finds_it_stopping_while_others_come_and_go(folder):
    clients = [Client(folder, CYCLES) for _ in range(3)]
    for client in clients:
        client.leave()
    assert postmaster(folder) is None


def test_a_killed_client_leaves_the_server_to_the_others(server, folder):
    client = Client(folder).ready()
    server.acquire()
    pid = postmaster(folder)
    client.kill()
    assert query(server, "SELECT 1") == 1
    assert postmaster(folder) == pid
    server.release()
    assert postmaster(folder) is None


def test_the_server_of_a_killed_only_client_is_found_again(server, folder):
    client = Client(folder).ready()
    pid = postmaster(folder)
    query(server, "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    client.kill()
    server.acquire()
    assert postmaster(folder) == pid
    assert query(server, "SELECT answer FROM kept") == 42


def test_a_killed_server_is_started_again_with_every_committed_row(folder):
    server = EmbeddedPostgres(folder, durable=True)
    server.acquire()
    host = str(server.socket_directory)
    busy = psycopg2.connect(host=host, user="postgres", dbname="chatproject")
    query(server, "CREATE TABLE kept AS SELECT 42 AS answer", "SELECT 1")
    pid = postmaster(folder)
    os.kill(pid, signal.SIGKILL)
    server.acquire()
    assert postmaster(folder) != pid
    assert query(server, "SELECT answer FROM kept") == 42
    busy.close()
    server.release()


def test_a_start_that_takes_long_is_not_waited_for_by_those_who_cannot(server, folder):
    with locked(start_lock(folder)):
        for _ in range(3):
            with pytest.raises(EmbeddedPostgresError, match=r"has not started within 0\.1 s"):
                server.acquire_within(0.1)
        assert [one.name for one in threading.enumerate()].count("database") == 1
    wait_until(lambda: server.is_held)
    os.kill(postmaster(folder), signal.SIGKILL)
    server.acquire_within(60)
    assert query(server, "SELECT 1") == 1


def test_a_start_that_fails_says_why_to_those_who_do_not_wait_for_long(server, folder):
    version = (folder / "data/PG_VERSION").read_text()
    (folder / "data/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 9 made the data"):
        server.acquire_within(60)
    (folder / "data/PG_VERSION").write_text(version)
    server.acquire_within(60)
    assert query(server, "SELECT 1") == 1


def test_a_process_number_that_now_belongs_to_another_program_is_no_server(server, folder):
    server.acquire()
    file = folder / "data/postmaster.pid"
    lines = file.read_text().splitlines(keepends=True)
    server.release()
    options = account_for(folder, folder / "data").process_options()
    other = subprocess.Popen(["sleep", "60"], **options)
    file.write_text("".join([f"{other.pid}\n", *lines[1:]]))
    server.acquire()
    assert query(server, "SELECT 1") == 1
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_forked_child_neither_keeps_nor_stops_its_parents_server(folder):
    assert Client(folder, FORKS).leave() == "done\n"


def test_a_child_of_multiprocessing_stops_it_at_its_end(folder):
    assert Client(folder, MULTIPROCESSING).leave() == "done\n"


def test_django_starts_it_at_the_first_query_and_again_when_it_has_died(folder):
    assert Client(folder, DJANGO).leave().split() == ["chatproject", "test_chatproject"]
    assert postmaster(folder) is None


def test_a_path_too_long_for_a_socket_gets_a_short_one_elsewhere(folder):
    long = folder.parent / "with a space, 'quotes' and é" / ("x" * LONGEST_SOCKET_PATH)
    server = server_at(long, durable=False)
    assert server is server_at(long)
    assert database_settings(long)["HOST"] == str(server.socket_directory)
    assert not server.socket_directory.exists()
    server.acquire()
    assert query(server, "SELECT 1") == 1
    assert len(str(server.socket_directory)) < 40
    server.release()
    assert not server.socket_directory.exists()


@pytest.mark.parametrize("kind", ["open", "link", "foreign"])
def test_a_socket_folder_that_somebody_else_made_is_refused(folder, kind):
    server = EmbeddedPostgres(folder / ("x" * LONGEST_SOCKET_PATH), durable=False)
    sockets = server.socket_directory
    if kind == "link":
        sockets.symlink_to("/usr")
    else:
        sockets.mkdir(mode=0o700)
        sockets.chmod(0o777 if kind == "open" else 0o700)
    if kind == "foreign":
        if not IS_ROOT:
            sockets.rmdir()
            pytest.skip("only root can make a folder for somebody else")
        os.chown(sockets, 12345, 12345)
    try:
        with pytest.raises(EmbeddedPostgresError, match="another program or user made it"):
            server.acquire()
    finally:
        sockets.unlink() if kind == "link" else sockets.rmdir()
    assert not server.is_held


def test_data_of_a_version_that_is_not_shipped_is_left_alone(server, folder):
    (folder / "data/PG_VERSION").write_text("99\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 99 made the data") as error:
        server.acquire()
    assert "DATABASE_URL" in str(error.value)
    assert (folder / "data/PG_VERSION").read_text() == "99\n"


def test_a_server_that_does_not_start_says_what_its_log_says(server, folder):
    server.acquire()
    server.release()
    with (folder / "data/postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        server.acquire()
    assert not server.is_held


def test_data_of_another_user_is_refused_by_name(tmp_path, monkeypatch):
    stranger = os.geteuid() + 12345
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(EmbeddedPostgresError, match=f"uid {stranger}. Run it as "):
        refuse_other_owner(tmp_path)
