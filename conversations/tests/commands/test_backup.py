"""backup and restore, as commands, on embedded servers of their own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import psycopg2
import pytest
from django.conf import settings
from django.core.management import CommandError
from psycopg2.sql import SQL, Identifier

from chatproject.embedded_postgres.programs import shipped
from chatproject.embedded_postgres.server import PORT, socket_folder
from conversations.management import postgres_tools
from conversations.management.commands.restore import _not_stopped
from conversations.management.database_copies import differences, state_of
from conversations.management.postgres_tools import find_program
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.factories import BOOKINGS_FILE, fill, make_conversation, make_user

SECONDS = 120


class Installation:
    """A data folder with an embedded server, which runs as long as this is open."""

    def __init__(self, folder, **environment):
        self.folder = folder
        self.environment = (
            {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
            | {"CHATPROJECT_DATA": str(folder), "DATABASE_URL": "", "CHAT_PROVIDER": ""}
            | environment
        )
        self._holder = self.start("shell", "-c", "import time; from django.db import connection; "
            "connection.ensure_connection(); connection.close(); time.sleep(10000)")  # fmt: skip
        wait_until(self.answers, SECONDS)

    @property
    def socket(self):
        return socket_folder(self.folder / "postgres")

    def url(self, password="", database="chatproject"):
        where = urlencode({"host": self.socket, "port": PORT})
        return f"postgres://postgres:{password}@/{database}?{where}"

    def connect(self, database="chatproject"):
        return closing(
            psycopg2.connect(host=str(self.socket), port=PORT, user="postgres", dbname=database)
        )

    def answers(self):
        try:
            with self.connect():
                return True
        except psycopg2.OperationalError:
            return False

    def value(self, sql):
        with self.connect() as raw, raw.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    def databases(self):
        sql = "SELECT array_agg(datname ORDER BY datname) FROM pg_database WHERE NOT datistemplate"
        return self.value(sql)

    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [sys.executable, settings.BASE_DIR / "manage.py", *arguments],
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, code=0, typed="", **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate(typed, timeout=SECONDS)
        assert process.returncode == code, out + err
        return out + err

    def exported(self):
        said = self.run("export_conversations", "--format", "json", "-o", "-")
        return said.rpartition("exported")[0]

    def close(self):
        self._holder.kill()
        self._holder.communicate()
        # The last one that used the server stops it.
        self.run("shell", "-c", "from django.db import connection; connection.ensure_connection()")


@contextmanager
def installed():
    # Not in pytest's folder, which it closes to the account that root's server runs as.
    with TemporaryDirectory(prefix="chat-", ignore_cleanup_errors=True) as folder:
        installation = Installation(Path(folder))
        try:
            yield installation
        finally:
            installation.close()


@pytest.fixture(scope="module")
def full():
    """With the sample of bookings."""
    with installed() as installation:
        installation.run("migrate", "-v0")
        load(installation)
        yield installation


def load(installation, user="ann"):
    file = str(BOOKINGS_FILE)
    installation.run("import_conversations", file, "--format", "openai", "--user", user)


@pytest.fixture(scope="module")
def other():
    with installed() as installation:
        yield installation


@pytest.fixture(scope="module")
def dump(full, tmp_path_factory):
    path = tmp_path_factory.mktemp("backups") / "chats.dump"
    said = full.run("backup", "-o", str(path), "--verify")
    assert "restored into a scratch database and equal: " in said
    return path


@pytest.fixture
def empty(other):
    """The other server's database, without any table, and no other that a test has left."""
    with other.connect("postgres") as raw:
        raw.autocommit = True
        with raw.cursor() as cursor:
            for name in other.databases():
                if name != "postgres":
                    cursor.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
            cursor.execute("CREATE DATABASE chatproject")
    return other


def test_a_restored_database_has_the_same_conversations_and_passes_doctor(full, dump, empty):
    said = empty.run("restore", str(dump))
    assert "Next: run manage.py doctor" in said
    assert empty.exported() == full.exported()
    said = empty.run("doctor", "--deep")
    assert "0 problems" in said
    assert "triggers: all are there and enabled" in said
    assert "functions: those of this release are there" in said


def test_only_its_owner_may_read_it(dump):
    assert dump.stat().st_mode & 0o077 == 0


def test_nothing_but_the_file_is_left(full, dump):
    assert list(dump.parent.iterdir()) == [dump]
    assert full.databases() == ["chatproject", "postgres"]


def test_a_database_that_is_not_empty_is_replaced_only_when_told_to(full, dump, empty):
    empty.run("migrate", "-v0")
    load(empty, "bob")
    owner = "SELECT string_agg(username, ',') FROM auth_user"
    said = empty.run("restore", str(dump), code=2)
    assert "Restore into an empty one, or in place of it with --replace." in said
    said = empty.run("restore", str(dump), "--replace", typed="no\n", code=2)
    assert "Not confirmed: nothing was changed." in said
    assert empty.value(owner) == "bob"
    said = empty.run("restore", str(dump), "--replace", "--keep", typed="chatproject\n")
    assert empty.value(owner) == "ann"
    assert empty.exported() == full.exported()
    kept = next(name for name in empty.databases() if "_before_" in name)
    assert f"The database of before is there as {kept}." in said
    with empty.connect(kept) as raw, raw.cursor() as cursor:
        cursor.execute(owner)
        assert cursor.fetchone() == ("bob",)
    empty.run("restore", str(dump), "--replace", "--no-input")
    assert empty.databases() == sorted(["chatproject", kept, "postgres"])


def test_a_database_that_replaces_another_has_its_locale(dump, empty):
    locale = (
        "SELECT concat(datlocprovider, datcollate) FROM pg_database WHERE datname = 'chatproject'"
    )
    assert empty.value(locale).startswith("b")
    with empty.connect("postgres") as raw:
        raw.autocommit = True
        with raw.cursor() as cursor:
            cursor.execute("DROP DATABASE chatproject WITH (FORCE)")
            cursor.execute(
                "CREATE DATABASE chatproject TEMPLATE template0"
                " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
            )
    empty.run("migrate", "-v0")
    empty.run("restore", str(dump), "--replace", "--no-input")
    assert empty.value(locale) == "cC"


def test_a_signal_while_databases_are_renamed_does_not_hide_what_was_done():
    with _not_stopped():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_database_in_use_is_not_replaced(dump, empty):
    empty.run("migrate", "-v0")
    with empty.connect():
        said = empty.run("restore", str(dump), "--replace", "--no-input", code=2)
    assert "Stop the web servers first" in said
    assert empty.databases() == empty.databases()
    assert not [name for name in empty.databases() if "_restoring_" in name]


def programs_that_wait(folder, version, begun, go):
    """The environment in which pg_restore makes the file `begun` and waits for the file `go`."""
    folder.mkdir()
    program = folder / "pg_restore"
    program.write_text(
        "#!/bin/sh\n"
        f'test "$1" = --version || test "$1" = --list || {{ touch {begun}; '
        f"while ! test -e {go}; do sleep 0.05; done; }}\n"
        f'exec {shipped()[str(version)] / "pg_restore"} "$@"\n'
    )
    program.chmod(0o755)
    return {"PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}


def test_a_write_while_a_database_is_replaced_waits_and_is_not_lost(dump, empty, tmp_path):
    """pg_restore waits here until a command has begun to write."""
    empty.run("migrate", "-v0")
    load(empty, "bob")
    begun, go = tmp_path / "begun", tmp_path / "go"
    version = int(empty.value("SHOW server_version_num")) // 10_000
    slow = programs_that_wait(tmp_path / "bin", version, begun, go)
    restoring = empty.start("restore", str(dump), "--replace", "--no-input", **slow)
    wait_until(begun.exists, SECONDS)
    writer = empty.start("create_token", "zoe")
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    wait_until(lambda: empty.value(waits), SECONDS)
    assert empty.value("SELECT string_agg(username, ',') FROM auth_user") == "bob"
    go.touch()
    out, err = restoring.communicate(timeout=SECONDS)
    assert restoring.returncode == 0, out + err
    writer.communicate(timeout=SECONDS)
    # Its session was ended: it has failed, or has connected again, to the new database.
    names = empty.value("SELECT array_agg(username::text ORDER BY username) FROM auth_user")
    assert names == (["ann"] if writer.returncode else ["ann", "zoe"])
    assert empty.databases() == ["chatproject", "postgres"]


def test_a_killed_restore_leaves_a_database_that_is_written(dump, empty, tmp_path):
    empty.run("migrate", "-v0")
    begun, go = tmp_path / "begun", tmp_path / "go"
    version = int(empty.value("SHOW server_version_num")) // 10_000
    slow = programs_that_wait(tmp_path / "bin", version, begun, go)
    restoring = empty.start("restore", str(dump), "--replace", "--no-input", **slow)
    wait_until(begun.exists, SECONDS)
    restoring.kill()
    restoring.communicate()
    go.touch()
    empty.run("create_token", "zoe")
    assert empty.value("SELECT string_agg(username, ',') FROM auth_user") == "zoe"


def test_what_is_no_backup_changes_nothing(dump, empty, tmp_path):
    whole = dump.read_bytes()
    cut, text = tmp_path / "cut.dump", tmp_path / "text.dump"
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("CREATE TABLE conversations_message ();")
    for path, reason in (
        (cut, "pg_restore has failed"),
        (text, "does not begin as"),
        (tmp_path / "none.dump", "No such file"),
    ):
        assert reason in empty.run("restore", str(path), code=2)
        assert empty.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_a_backup_of_something_else_is_refused(full, empty, tmp_path):
    path = tmp_path / "other.dump"
    program = find_program("pg_dump").path
    with path.open("wb") as file:
        subprocess.run(
            [program, "--format=custom", f"--dbname={full.url(database='postgres')}"],
            stdout=file,
            check=True,
        )
    assert "is a backup of another application" in empty.run("restore", str(path), code=2)


def children(pid):
    """The command lines of its child processes."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    lines = {}
    for child in found.stdout.split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            lines[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes()
    return lines


def dump_of(process):
    """The pg_dump of a backup, once it dumps. Before that, it is asked for its version."""
    found = []

    def dumps():
        found[:] = [pid for pid, line in children(process.pid).items() if b"--snapshot" in line]
        return found

    wait_until(dumps, SECONDS)
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_backup_leaves_all_as_it_was(full, tmp_path, number):
    path = tmp_path / "chats.dump"
    path.write_text("the one of yesterday")
    with full.connect() as raw, raw.cursor() as cursor:
        cursor.execute("LOCK TABLE conversations_tombstone IN ACCESS EXCLUSIVE MODE")
        process = full.start("backup", "-o", str(path), "--verify")
        child = dump_of(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, out + err
    assert path.read_text() == "the one of yesterday"
    assert list(tmp_path.iterdir()) == [path]
    assert not Path(f"/proc/{child}").exists()
    assert full.databases() == ["chatproject", "postgres"]


def test_a_password_is_on_no_command_line(full, tmp_path):
    url = full.url(password="s3cret-of-the-database")
    with full.connect() as raw, raw.cursor() as cursor:
        cursor.execute("LOCK TABLE conversations_tombstone IN ACCESS EXCLUSIVE MODE")
        process = full.start("backup", "-o", str(tmp_path / "chats.dump"), DATABASE_URL=url)
        child = dump_of(process)
        line = Path(f"/proc/{child}/cmdline").read_bytes()
        environment = Path(f"/proc/{child}/environ").read_bytes()
        raw.rollback()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out + err
    assert b"s3cret" not in line
    assert b"PGPASSWORD=s3cret-of-the-database" in environment


def test_writers_go_on_and_the_backup_is_still_equal_to_its_begin(full, tmp_path):
    process = full.start("backup", "-o", str(tmp_path / "chats.dump"), "--verify")
    number = 0
    with full.connect() as raw, raw.cursor() as cursor:
        raw.autocommit = True
        while process.poll() is None:
            cursor.execute("UPDATE auth_user SET first_name = %s", [f"name {number}"])
            number += 1
            time.sleep(0.01)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert number > 1


def test_a_restore_that_is_stopped_leaves_an_empty_database(dump, empty):
    """Its connection is the sign that it has begun; a fast one may be over before the signal."""
    process = empty.start("restore", str(dump))
    begun = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chatproject backup'"
    wait_until(lambda: empty.value(begun) or process.poll() is not None, SECONDS)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode in (0, 130), out + err
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    if "the database is as it was before" in err:
        assert empty.value(tables) == 0
    else:
        assert empty.value(tables) > 20
        assert process.returncode == 0 or "everything was restored already" in err


@pytest.mark.parametrize("arguments", [("-o", "-", "--verify"), ("-o", "-", "--json")])
def test_what_standard_output_cannot_do_is_refused(full, arguments):
    assert "name one with -o" in full.run("backup", *arguments, code=2)


def test_a_dump_that_fails_leaves_no_file_and_ends_with_2(full, tmp_path):
    version = int(full.value("SHOW server_version_num")) // 10_000
    program, path = tmp_path / "pg_dump", tmp_path / "chats.dump"
    program.write_text(
        "#!/bin/sh\n"
        f'test "$1" = --version && echo "pg_dump (PostgreSQL) {version}.0" && exit\n'
        "echo cut; echo no space left >&2; exit 1\n"
    )
    program.chmod(0o755)
    search = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    said = full.run("backup", "-o", str(path), code=2, PATH=search)
    assert "pg_dump has failed (status 1): no space left" in said
    assert list(tmp_path.iterdir()) == [program]


def test_a_folder_that_is_not_there(full, tmp_path):
    assert "No such file" in full.run("backup", "-o", str(tmp_path / "none" / "a.dump"), code=2)


@pytest.mark.django_db
def test_a_lost_row_and_a_changed_one_are_differences(alice):
    from django.db import connection

    chat = make_conversation(alice, 3)
    with connection.cursor() as cursor:
        before = state_of(cursor)
        cursor.execute("UPDATE auth_user SET first_name = 'Alice' WHERE id = %s", [alice.pk])
        make_user("bob")
        after = state_of(cursor)
    assert before["conversations_message"] == after["conversations_message"]
    assert before["conversations_message"].rows == 3
    (found,) = differences(before, after)
    assert found.startswith("auth_user: 2 rows")
    fill(chat, 1)
    with connection.cursor() as cursor:
        assert {one.partition(":")[0] for one in differences(after, state_of(cursor))} >= {
            "conversations_message",
            "conversations_conversation",
        }


@pytest.mark.django_db
def test_without_programs_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(postgres_tools, "shipped", dict)
    monkeypatch.setattr(postgres_tools, "OF_DEBIAN", Path("/nonexistent"))
    with pytest.raises(CommandError, match=r"there is none.*apt install postgresql-client-\d+"):
        find_program("pg_dump")
