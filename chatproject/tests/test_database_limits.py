import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

from chatproject.database_limits import NETWORK_TIMEOUTS, limit_web_process, with_limits
from conversations.services.database_errors import (
    LOCKED,
    RETRY_SECONDS,
    TIMED_OUT,
    UNREACHABLE,
    why_unavailable,
)
from conversations.tests.factories import make_user

NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def web(transactional_db):
    """A connection as a web process opens it."""
    before = settings.DATABASES["default"]["OPTIONS"]
    limit_web_process()
    other = connection.copy()
    yield other
    other.close()
    settings.DATABASES["default"]["OPTIONS"] = before
    settings.DATABASES["default"].get("EMBEDDED", {}).pop("seconds", None)


def limits_of(wrapper):
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)", [list(NAMES)]
        )
        return dict(cursor.fetchall())


def test_limits_are_sent_in_milliseconds_after_what_the_url_gives():
    given = {"options": "-c search_path=chat", "sslmode": "require"}
    limited = with_limits(given, lock_timeout=0.5, statement_timeout=0)
    assert limited == given | {"options": "-c search_path=chat -c lock_timeout=500"}


def test_without_a_limit_nothing_is_sent():
    assert with_limits({"sslmode": "require"}, lock_timeout=0) == {"sslmode": "require"}


def test_a_web_process_has_limits(web):
    assert limits_of(web) == dict(zip(NAMES, (5_000, 30_000, 60_000), strict=True))


@pytest.mark.usefixtures("web")
def test_a_web_process_waits_for_the_embedded_server_as_long_as_clients_are_to():
    if "EMBEDDED" not in settings.DATABASES["default"]:
        pytest.skip("the tests run on another server")
    assert settings.DATABASES["default"]["EMBEDDED"]["seconds"] == RETRY_SECONDS


@pytest.mark.django_db
def test_a_command_may_take_its_time_but_for_locks():
    assert limits_of(connection) == dict(zip(NAMES, (60_000, 0, 0), strict=True))


def test_every_way_to_serve_takes_the_limits():
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from django.core.servers.basehttp import get_internal_wsgi_application as application\n"
        "before = settings.DATABASES['default']['OPTIONS']['options']\n"
        "application()\n"
        "print(before, settings.DATABASES['default']['OPTIONS']['options'], sep='|')\n"
    )
    limits = {"DATABASE_LOCK_TIMEOUT_SECONDS": "1", "DATABASE_STATEMENT_TIMEOUT_SECONDS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | limits,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "-c lock_timeout=60000|-c lock_timeout=1000 -c idle_in_transaction_session_timeout=60000"
    )


def test_a_database_that_is_cut_off_is_noticed_and_the_url_may_say_when():
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "options = settings.DATABASES['default']['OPTIONS']\n"
        "print(options['connect_timeout'], options['tcp_user_timeout'])\n"
    )
    url = {"DATABASE_URL": "postgres://me@db.example/chat?connect_timeout=3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | url,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["3", "20000"]


@pytest.mark.django_db
def test_libpq_takes_the_timeouts_of_the_network():
    connection.ensure_connection()
    sent = connection.connection.get_dsn_parameters()
    assert {name: int(sent[name]) for name in NETWORK_TIMEOUTS} == NETWORK_TIMEOUTS


def test_what_passes_a_limit_is_known_as_unavailable(web):
    with web.cursor() as cursor:
        cursor.execute("SET statement_timeout = 50")
        with pytest.raises(OperationalError) as caught:
            cursor.execute("SELECT pg_sleep(5)")
        assert why_unavailable(caught.value) == TIMED_OUT


@pytest.mark.one_node("who waits for a lock waits on another node, with the limits of that one")
def test_what_waits_too_long_for_a_lock_is_known_as_unavailable(web):
    user = make_user("ann")
    with web.cursor() as cursor:
        cursor.execute("SET lock_timeout = 50")
        with transaction.atomic(), connection.cursor() as other:
            other.execute("SELECT 1 FROM auth_user WHERE id = %s FOR UPDATE", [user.pk])
            with pytest.raises(OperationalError) as caught:
                cursor.execute("SELECT 1 FROM auth_user WHERE id = %s FOR UPDATE", [user.pk])
        assert why_unavailable(caught.value) == LOCKED


def test_a_transaction_left_open_loses_its_connection(web):
    web.set_autocommit(False)
    with web.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = 50; SELECT 1")
        with connection.cursor() as other:
            other.execute("SELECT pg_sleep(0.5)")
        with pytest.raises(DatabaseError) as caught:
            cursor.execute("SELECT 1")
    assert why_unavailable(caught.value) == UNREACHABLE
