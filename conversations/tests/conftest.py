"""Fixtures that all tests share."""

from contextlib import contextmanager

# The first import binds the standard error of that moment for good: here, and not in a test
# whose `capsys` has replaced it.
import mcp.client.stdio  # noqa: F401
import pytest
from django.core.management import CommandError
from django.db import connection
from django.test import TransactionTestCase
from django.test.utils import CaptureQueriesContext

from conversations.chat.runtime import db_worker
from conversations.db.owners import is_distributed
from conversations.models import Conversation
from conversations.tests.factories import client_for, make_staff, make_trusted, make_user

TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK")

LIFT_HOLDS = """
ALTER TABLE conversations_conversation DISABLE TRIGGER conversation_hold_update;
UPDATE conversations_conversation SET legal_hold = false WHERE legal_hold;
ALTER TABLE conversations_conversation ENABLE TRIGGER conversation_hold_update;
"""


@pytest.fixture(autouse=True, scope="session")
def _flush_in_spite_of_holds():
    """A test without a transaction of its own ends with a TRUNCATE, which a legal hold refuses.

    On a cluster it does not: there are no triggers of TRUNCATE.
    """
    flush = TransactionTestCase._fixture_teardown

    def lift_and_flush(self):
        if not is_distributed() and Conversation.objects.filter(legal_hold=True).exists():
            with connection.cursor() as cursor:
                cursor.execute(LIFT_HOLDS)
        # A server of the tests that works in the background may hold one table and want another.
        for attempts_left in (2, 1, 0):
            try:
                flush(self)
                break
            except CommandError as error:
                if not attempts_left or "deadlock" not in str(error.__cause__):
                    raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lift_and_flush)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_connections_left():
    """Else the database of the tests could not be dropped at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db_worker, "IDLE_SECONDS", 0)
        yield


@pytest.fixture
def alice(db):
    return make_user("alice")


@pytest.fixture
def bob(db):
    return make_user("bob")


@pytest.fixture
def staff(db):
    return make_staff()


@pytest.fixture
def trusted(db):
    return make_trusted()


@pytest.fixture
def api(alice):
    """Alice's client."""
    return client_for(alice)


@pytest.fixture
def backend(trusted):
    """The trusted client's client."""
    return client_for(trusted)


@pytest.fixture
def explains(db):
    """For `plans_of(execute=True)`, before other fixtures: a cluster runs EXPLAIN ANALYZE only
    where the coordinator has not read or written its own copies in the transaction."""
    if is_distributed():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL citus.enable_local_execution = off")


@pytest.fixture
def statements():
    """`with statements() as seen:` collects the SQL sent, beside transaction control."""

    @contextmanager
    def collect():
        seen = []
        with CaptureQueriesContext(connection) as captured:
            yield seen
        seen += [q["sql"] for q in captured if not q["sql"].startswith(TRANSACTION_CONTROL)]

    return collect
