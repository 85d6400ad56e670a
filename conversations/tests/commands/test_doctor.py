"""doctor: what it finds, on a database where that is really so."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.db import connection

from conversations.management.commands.doctor import read_only
from conversations.management.doctor.schema import TRIGGERS
from conversations.models import Conversation, Message, Status
from conversations.models.conversation_count import ConversationCount
from conversations.services.conversations import create_conversation
from conversations.services.functions import FUNCTIONS
from conversations.tests.chat.provider_fixtures import nobody_listens
from conversations.tests.chat.servers import database_url

__all__ = ["nobody_listens"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.CHAT_PROVIDER = ""
    settings.ALLOWED_HOSTS = ["localhost"]  # beside which the tests answer to a name of their own


@pytest.fixture
def examine(capsys):
    """Run it; its exit code, and the findings that are not ok by their subject."""

    def run(*arguments):
        code = 0
        try:
            call_command("doctor", "--json", *arguments)
        except SystemExit as ended:
            code = ended.code
        report = json.loads(capsys.readouterr().out)
        found = {}
        for one in report["findings"]:
            if one["level"] != "ok":
                assert one["remedy"]
                found.setdefault(one["subject"], []).append(f"{one['level']}: {one['text']}")
        return code, found

    return run


def execute(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def test_a_healthy_installation_has_no_problem(examine):
    code, found = examine()
    assert code == 0
    assert set(found) <= {"database", "disk", "upkeep"}, found
    # The server of the tests is not durable, and says so.
    assert all(text.startswith("warning") for texts in found.values() for text in texts)


@pytest.mark.one_node("triggers of TRUNCATE are there on one node only")
def test_every_trigger_is_expected_and_exists():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        assert {row[0] for row in cursor.fetchall()} == TRIGGERS


@pytest.mark.one_node("its schema changes are not for a cluster")
@pytest.mark.parametrize(
    ("sql", "subject", "text"),
    [
        (
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'change_position_idx'::regclass",
            "indexes",
            "problem: change_position_idx is invalid",
        ),
        ("DROP INDEX change_position_idx", "indexes", "problem: change_position_idx is missing"),
        (
            "ALTER TABLE conversations_change DROP CONSTRAINT change_kind_known",
            "constraints",
            "problem: change_kind_known is missing",
        ),
        (
            "UPDATE pg_constraint SET convalidated = false WHERE conname = 'change_kind_known'",
            "constraints",
            "warning: change_kind_known was not checked",
        ),
        (
            "DROP TRIGGER message_keep_owner ON conversations_message",
            "triggers",
            "problem: message_keep_owner is missing",
        ),
        (
            "ALTER TABLE conversations_message DISABLE TRIGGER message_hold_update",
            "triggers",
            "problem: message_hold_update is disabled",
        ),
        (
            f"DROP FUNCTION {FUNCTIONS[0].name}",
            "functions",
            f"problem: missing: {FUNCTIONS[0].name}",
        ),
        (
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations"
            " WHERE app = 'conversations')",
            "migrations",
            "problem: 1 are not applied",
        ),
        (
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('conversations', '9999_later', now())",
            "migrations",
            "warning: A newer release has applied: conversations.9999_later",
        ),
        (
            "INSERT INTO conversations_pendingchange (user_id, conversation_id, kind, created_at)"
            " VALUES (1, gen_random_uuid(), 'conversation.changed', now() - interval '1 hour')",
            "feed of changes",
            "warning: 1 changes have no position yet, the oldest for 1:0",
        ),
    ],
)
def test_what_is_broken_in_the_database_is_found(examine, sql, subject, text):
    execute(sql)
    code, found = examine()
    assert found[subject][0].startswith(text)
    assert code == (1 if text.startswith("problem") else 0)


def test_answers_that_nobody_runs_are_found(examine, alice):
    chat, _ = create_conversation(owner=alice)
    Message.objects.create(
        user_id=alice.pk,
        conversation=chat,
        sequence=1,
        role="assistant",
        status=Status.STREAMING,
        content="half",
    )
    execute("UPDATE conversations_message SET updated_at = now() - interval '1 day'")
    code, found = examine()
    assert code == 0
    assert found["answers"][0].startswith("warning: 1 are `streaming`")


@pytest.mark.parametrize("arguments", [(), ("--deep",)])
def test_a_wrong_number_of_conversations_is_found(examine, alice, arguments):
    create_conversation(owner=alice)
    ConversationCount.objects.create(user_id=alice.pk, number=2)
    code, found = examine(*arguments)
    assert code == 1
    assert f"{alice.pk}: 3 kept, 1 counted" in found["counts"][0]


def test_an_owner_without_a_number_is_found_by_a_deep_look(examine, alice):
    create_conversation(owner=alice)
    execute("DELETE FROM conversations_conversationcount")
    code, found = examine("--deep")
    assert code == 1
    assert f"{alice.pk}: 0 kept, 1 counted" in found["counts"][0]


def test_too_few_connections_for_the_workers_are_found(examine):
    _, found = examine("--workers", "50")
    assert "too few for 50 workers" in found["connections"][0]


def test_a_check_cannot_write(alice):
    def check():
        create_conversation(owner=alice)
        yield from ()

    (found,) = read_only(check)
    assert "read-only transaction" in found.text
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(("https", "level", "code"), [(False, "warning", 0), (True, "problem", 1)])
def test_unsafe_settings_are_problems_where_others_reach_the_server(
    examine, settings, https, level, code
):
    settings.HTTPS, settings.DEBUG, settings.SECRET_KEY = https, True, "short"
    settings.ALLOWED_HOSTS = ["*"]
    ended, found = examine()
    assert ended == code
    texts = [text for text in found["settings"] if text.startswith(level)]
    for what in ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"):
        assert any(what in text for text in texts)


@pytest.fixture
def endpoint(settings):
    """What a provider is asked for, after the status that it answers with."""
    statuses = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            statuses.append(self.path)
            self.send_response(statuses[0])
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings.CHAT_PROVIDER = "here"
        settings.CHAT_PROVIDERS = {
            "here": {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "k"}
        }
        yield statuses
        server.shutdown()


@pytest.mark.parametrize(("status", "fine"), [(200, True), (404, True), (401, False)])
def test_the_provider_is_asked(examine, endpoint, status, fine):
    endpoint[0] = status
    code, found = examine()
    assert code == (0 if fine else 1)
    assert ("provider" not in found) == fine


def test_the_key_of_a_provider_is_sent_to_no_other_place(examine, endpoint):
    endpoint[0] = 302
    assert examine()[0] == 0
    assert endpoint[1:] == ["/v1/models"]


def test_a_provider_that_does_not_answer_is_found(examine, settings, nobody_listens):
    settings.CHAT_PROVIDER, settings.CHAT_PROVIDERS = "gone", {"gone": {"base_url": nobody_listens}}
    code, found = examine()
    assert code == 1
    assert "does not answer" in found["provider"][0]


def test_an_unknown_provider_is_found(examine, settings):
    settings.CHAT_PROVIDER = "nobody"
    assert "There is no provider nobody" in examine()[1]["provider"][0]


def run(url, *arguments):
    return subprocess.run(
        [sys.executable, project.BASE_DIR / "manage.py", "doctor", *arguments],
        env=os.environ | {"DATABASE_URL": url, "CHAT_PROVIDER": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.django_db(transaction=True)
def test_as_a_command_it_lists_what_it_looked_at():
    done = run(database_url())
    # That of the tests is not durable, which no setting of this process asks for.
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("\nproblem") == 1
    assert "a crash of the machine loses acknowledged messages" in done.stdout
    for subject in ("settings", "disk", "clock", "migrations", "triggers", "counts"):
        assert f"{subject}: " in done.stdout


def test_a_database_that_does_not_answer_ends_with_2():
    done = run("postgres://nobody@127.0.0.1:1/nothing")
    assert done.returncode == 2
    assert "problem  database: It cannot be used" in done.stdout
    assert "disk: " in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_database_without_tables_is_described_not_a_crash():
    name = "doctor_empty"
    execute(f"CREATE DATABASE {name}")
    try:
        found = connection.settings_dict["NAME"]
        done = run(database_url().replace(f"/{found}?", f"/{name}?"))
    finally:
        execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert done.returncode == 1, done.stderr
    assert "are not applied" in done.stdout
    assert "Run manage.py migrate." in done.stdout
