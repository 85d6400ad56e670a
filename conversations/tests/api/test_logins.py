"""Logins with a password: limited by account and by address, whoever exists."""

import io
import logging

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from conversations.tests.factories import client_for, make_user

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
HANDLERS = ["axes.handlers.cache.AxesCacheHandler", "axes.handlers.database.AxesDatabaseHandler"]


@pytest.fixture(params=HANDLERS, autouse=True)
def _handler(request, settings):
    cache.clear()
    settings.AXES_HANDLER = request.param
    settings.AXES_FAILURE_LIMIT = 3
    yield
    cache.clear()


@pytest.fixture
def root():
    return make_user("root", password="right", is_staff=True, is_superuser=True)


def log_in(name, password, address="192.0.2.1", client=None):
    body = {"username": name, "password": password, "next": "/admin/"}
    return (client or Client()).post(LOGIN, body, REMOTE_ADDR=address)


def fail(times, name="root", addresses="192.0.2.{}"):
    return [log_in(name, "wrong", addresses.format(i + 1)).status_code for i in range(times)]


def test_an_account_is_limited_from_wherever_it_is_tried(root):
    assert fail(4) == [200, 200, 429, 429]
    answer = log_in("root", "right", "198.51.100.7")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "900")
    assert "Wait 15 minutes" in answer.content.decode()


def test_an_address_is_limited_whatever_names_it_tries(root):
    names = ["a", "b", "c", "d"]
    assert [log_in(name, "x").status_code for name in names] == [200, 200, 429, 429]
    assert log_in("root", "right").status_code == 429
    assert log_in("root", "right", "198.51.100.7").status_code == 302


def test_nothing_says_whether_the_account_exists(root):
    known, unknown = (
        [log_in(name, "x", f"192.0.2.{i}") for i in range(4)] for name in ("root", "no")
    )
    assert [a.status_code for a in known] == [a.status_code for a in unknown]
    assert known[-1].content == unknown[-1].content
    assert log_in("root", "right", "198.51.100.7").content == known[-1].content


def test_a_login_that_succeeds_begins_the_count_anew(root):
    assert fail(2) == [200, 200]
    assert log_in("root", "right").status_code == 302
    assert fail(2) == [200, 200]


def test_an_account_of_ones_own_does_not_help_to_guess_at_another(root):
    make_user("own", password="mine", is_staff=True)
    assert fail(1, addresses="192.0.2.1") == [200]
    assert log_in("own", "mine").status_code == 302
    assert fail(2, addresses="192.0.2.1") == [200, 429]


def test_a_name_that_looks_like_an_address_begins_its_count_anew():
    make_user("192.0.2.9", password="right", is_staff=True)
    assert fail(2, name="192.0.2.9") == [200, 200]
    assert log_in("192.0.2.9", "right", "198.51.100.7").status_code == 302
    assert fail(2, name="192.0.2.9", addresses="198.51.100.{}") == [200, 200]


def test_sessions_and_tokens_go_on(root):
    session, token = Client(), client_for(root)
    assert log_in("root", "right", client=session).status_code == 302
    fail(4)
    assert session.get("/admin/", REMOTE_ADDR="192.0.2.1").status_code == 200
    assert token.get("/api/conversations", REMOTE_ADDR="192.0.2.1").status_code == 200
    assert session.get("/api/conversations", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_somebodys_address_given_as_a_name_does_not_lock_it(root):
    fail(4, name="198.51.100.7")
    assert log_in("root", "right", "198.51.100.7").status_code == 302


def test_a_command_lets_an_account_in_again(root):
    fail(4)
    call_command("axes_reset_username", "root", stdout=io.StringIO())
    assert log_in("root", "right", "198.51.100.7").status_code == 302


def test_no_log_line_holds_a_password_or_what_was_typed_as_a_name(root, caplog):
    caplog.set_level(logging.DEBUG)
    log_in("my secret", "other secret")
    fail(4)
    assert "secret" not in caplog.text
