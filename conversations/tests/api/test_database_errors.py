"""What a database that cannot serve looks like to a client, and what stays a defect."""

import uuid

import psycopg2
import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection
from django.test import Client

from conversations.api.errors import OUTCOME_OF_FORM_UNKNOWN, OUTCOME_UNKNOWN
from conversations.models import Message
from conversations.services import database_errors as texts
from conversations.services.database_errors import UNREACHABLE, why_unavailable
from conversations.tests.factories import client_for, make_conversation, make_user

LIST = "/api/conversations"
CANNOT_SERVE = {
    "08006": texts.UNREACHABLE,
    "57P01": texts.UNREACHABLE,
    "57P02": texts.UNREACHABLE,
    "57P03": texts.UNREACHABLE,
    "25P03": texts.UNREACHABLE,
    "58030": texts.UNREACHABLE,
    "57014": texts.TIMED_OUT,
    "55P03": texts.LOCKED,
    "40001": texts.ROLLED_BACK,
    "40P01": texts.ROLLED_BACK,
    "53100": texts.DISK_FULL,
    "53200": texts.OVERLOADED,
    "53300": texts.OVERLOADED,
}
DEFECTS = ["42P01", "42703", "23505", "23514", "22001", "0A000", "54000", "P0001", "XX000"]


APPEND = "SELECT * FROM conversations_f_append"


@pytest.fixture
def failing():
    """`with failing(how, "INSERT")`: statements that begin so fail instead."""

    def wrapped(fail, beginning=""):
        def run(execute, sql, params, many, context):
            if not sql.lstrip().startswith(beginning):
                return execute(sql, params, many, context)
            return fail(execute, context)

        return connection.execute_wrapper(run)

    return wrapped


def with_sqlstate(code):
    """Lets the server itself raise an error with this SQLSTATE."""
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = '{code}'; END $$"
    return lambda execute, context: execute(sql, None, False, context)


def from_driver(error):
    """The driver's own exception, wrapped as Django wraps each."""

    def fail(execute, context):
        with connection.wrap_database_errors:
            raise error

    return fail


def quiet(user):
    client = client_for(user)
    client.raise_request_exception = False
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("code", CANNOT_SERVE)
def test_a_read_that_the_database_cannot_serve_is_503(alice, failing, code):
    client = quiet(alice)
    with failing(with_sqlstate(code), "SELECT"):
        answer = client.get(LIST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    (error,) = answer.json()["errors"]
    assert error == {"code": "unavailable", "detail": CANNOT_SERVE[code], "attr": None}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", CANNOT_SERVE)
def test_a_write_hears_that_its_outcome_is_unknown_and_may_be_repeated(alice, failing, code):
    client, chat = quiet(alice), make_conversation(alice)
    body = {"role": "user", "content": "x", "id": str(uuid.uuid4())}
    with failing(with_sqlstate(code), APPEND):
        answer = client.post(f"{LIST}/{chat.pk}/messages", body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["errors"][0]["detail"] == f"{CANNOT_SERVE[code]} {OUTCOME_UNKNOWN}"
    assert client.post(f"{LIST}/{chat.pk}/messages", body).status_code == 201
    assert Message.objects.count() == 1


@pytest.mark.django_db
def test_a_turn_that_is_asked_by_get_hears_it_too(alice, failing):
    client = quiet(alice)
    with failing(with_sqlstate("57P01"), "INSERT"):
        answer = client.get("/api/chat/ask-stream?question=x&provider=ollama")
    assert answer.status_code == 503
    assert OUTCOME_UNKNOWN in answer.json()["errors"][0]["detail"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error",
    [
        psycopg2.DatabaseError("server closed the connection unexpectedly"),
        psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq"),
        psycopg2.OperationalError("SSL connection has been closed unexpectedly"),
        psycopg2.errors.DiskFull("could not extend file: No space left on device"),
    ],
)
def test_what_the_driver_raises_of_a_broken_connection_is_503(alice, failing, error):
    client = quiet(alice)
    with failing(from_driver(error), "INSERT"):
        assert client.post(LIST, {}).status_code == 503


@pytest.mark.django_db
@pytest.mark.parametrize("code", DEFECTS)
def test_a_defect_stays_500(alice, failing, code):
    client = quiet(alice)
    with failing(with_sqlstate(code), "INSERT"):
        answer = client.post(LIST, {})
    assert answer.status_code == 500
    assert b"secret" not in answer.content


def test_errors_that_no_driver_raised_are_defects():
    assert why_unavailable(None) is None
    assert why_unavailable(ValueError()) is None
    assert (
        why_unavailable(DatabaseError("Save with update_fields did not affect any rows.")) is None
    )
    assert why_unavailable(IntegrityError()) is None
    assert why_unavailable(OperationalError()) == UNREACHABLE


@pytest.mark.django_db
def test_a_cursor_used_after_its_end_is_a_defect_only_while_the_connection_lives(monkeypatch):
    with connection.cursor() as cursor:
        pass
    with pytest.raises(InterfaceError) as caught:
        cursor.execute("SELECT 1")
    assert why_unavailable(caught.value) is None
    monkeypatch.setattr(texts, "_is_closed", lambda wrapper: True)
    assert why_unavailable(caught.value) == UNREACHABLE


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_ended_costs_no_request(alice):
    client = client_for(alice)
    assert client.get(LIST).status_code == 200
    end_backend()
    assert client.get(LIST).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_broke_without_a_sqlstate_costs_no_request(alice):
    client, failures = client_for(alice), [psycopg2.DatabaseError("server closed the connection")]

    def run(execute, *statement):
        return from_driver(failures.pop())(execute, None) if failures else execute(*statement)

    with connection.execute_wrapper(run):
        assert client.get(LIST).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_after_a_connection_is_lost_midway_the_next_request_gets_a_fresh_one(alice, failing):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone() != (connection.connection.info.backend_pid,):
            pytest.skip("A pooler gives the request another session")
    client = quiet(alice)

    def end(execute, context):
        end_backend()
        return execute("SELECT 1", None, False, context)

    with failing(end, 'INSERT INTO "conversations_conversation"'):
        assert client.post(LIST, {}).status_code == 503
    assert connection.connection is None
    assert client.post(LIST, {}).status_code == 201


def end_backend():
    """End this thread's session from another one, as an administrator does."""
    pid = connection.connection.info.backend_pid
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_a_page_of_the_admin_says_503_too(failing):
    client = Client(raise_request_exception=False)
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    with failing(with_sqlstate("57P01"), "SELECT"):
        answer = client.get("/admin/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert texts.UNREACHABLE in answer.content.decode()
    assert OUTCOME_OF_FORM_UNKNOWN not in answer.content.decode()
    with failing(with_sqlstate("57P01"), "SELECT"):
        answer = client.post("/admin/auth/user/add/", {"username": "new"})
    assert answer.status_code == 503
    assert OUTCOME_OF_FORM_UNKNOWN in answer.content.decode()
    with failing(with_sqlstate("42P01"), "SELECT"):
        assert client.get("/admin/").status_code == 500


@pytest.mark.django_db(transaction=True)
def test_a_middleware_of_the_api_says_503_too(failing, settings):
    session = Client(raise_request_exception=False)
    session.force_login(make_user("carl"))
    settings.SESSION_SAVE_EVERY_REQUEST = True  # asks for the session outside of the view
    with failing(with_sqlstate("57014"), "SELECT"):
        answer = session.get(LIST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["errors"][0]["code"] == "unavailable"
