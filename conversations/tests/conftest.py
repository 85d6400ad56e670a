"""Fixtures that all tests share."""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.tests.factories import client_for, make_staff, make_trusted, make_user

TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK")


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
def statements():
    """`with statements() as seen:` collects the SQL sent, beside transaction control."""

    @contextmanager
    def collect():
        seen = []
        with CaptureQueriesContext(connection) as captured:
            yield seen
        seen += [q["sql"] for q in captured if not q["sql"].startswith(TRANSACTION_CONTROL)]

    return collect
