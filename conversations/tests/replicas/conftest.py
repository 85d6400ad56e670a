"""A standby of the tests' own server, this process and two web servers that read on it."""

import threading
from pathlib import Path

import pytest
from django.db import connection, connections

from chatproject import database_replicas, embedded_postgres
from conversations.db import replica_servers, write_positions
from conversations.db.replica_backend.base import DatabaseWrapper
from conversations.models import Conversation, Message
from conversations.tests.chat.fixtures import wait_until
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving
from conversations.tests.factories import make_conversation, make_token, make_user
from conversations.tests.standby import primary_rows, standby_of

ALIAS = "replica_1"
MIDDLEWARE = [
    "conversations.api.middleware.replica_scope",
    "conversations.admin.middleware.pages_from_replica",
]
# So long that no slow machine takes a paused replica for one that lags.
MAX_LAG = 600
BEFORE, AFTER = "as the replica has it", "as the primary has it"


@pytest.fixture(scope="session")
def server(django_db_setup):
    """The embedded server that the tests run on."""
    embedded = connection.settings_dict.get("EMBEDDED")
    if embedded is None:
        pytest.skip("A standby is made of the embedded server alone: unset TEST_DATABASE_URL")
    return embedded_postgres.server_at(Path(embedded["directory"]), durable=False)


@pytest.fixture(scope="module")
def standby(server):
    """The server of the tests commits without waiting for its log, which is then sent late."""
    name = connection.settings_dict["NAME"]
    primary_rows(server, f'ALTER DATABASE "{name}" SET synchronous_commit = on')
    with standby_of(server, name) as made:
        yield made


@pytest.fixture
def replica(standby, settings, transactional_db, monkeypatch):
    """This process reads on the standby, as a web process does."""
    # Django's tests refuse connections of which they do not roll anything back.
    monkeypatch.setattr(DatabaseWrapper, "ensure_connection", _connect, raising=False)
    url = standby.url(connection.settings_dict["NAME"])
    made = database_replicas.replicas([url], connection.settings_dict, statement_timeout=5)
    connections.settings[ALIAS] = connections.configure_settings({**made, "default": {}})[ALIAS]
    settings.DATABASE_REPLICAS = [ALIAS]
    settings.DATABASE_REPLICA_MAX_LAG_SECONDS = MAX_LAG
    settings.DATABASE_ROUTERS = ["conversations.db.replicas.Router"]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *MIDDLEWARE]
    forget()
    standby.start()
    yield standby
    standby.thaw()
    standby.start()
    standby.resume_replay()
    connections[ALIAS].close()
    join_asking()
    del connections[ALIAS], connections.settings[ALIAS]
    forget()


def _connect(wrapper):
    if wrapper.connection is None:
        with wrapper.wrap_database_errors:
            wrapper.connect()


def forget():
    """What this process knows of replicas."""
    replica_servers.replica.cache_clear()
    write_positions._history = write_positions._History()


def join_asking():
    """Wait for the threads that ask whether it is back."""
    for thread in threading.enumerate():
        if thread.name == f"ask-{ALIAS}":
            thread.join()


@pytest.fixture(scope="module")
def provider():
    with ScriptedProvider() as made:
        yield made


@pytest.fixture(scope="module")
def servers(standby, provider):
    """Two web servers that share nothing but the database and the standby."""
    url = standby.url(connection.settings_dict["NAME"])
    given = {"DATABASE_REPLICA_URLS": url, "DATABASE_REPLICA_MAX_LAG_SECONDS": str(MAX_LAG)}
    with serving(provider, **given) as one, serving(provider, **given) as other:
        yield one, other


@pytest.fixture
def alice(transactional_db):
    return make_user("alice")


@pytest.fixture
def token(alice):
    return make_token(alice)


@pytest.fixture
def two(servers, token, standby):
    """Alice's clients of the two servers."""
    yield [server.client(token) for server in servers]
    standby.thaw()
    standby.start()
    standby.resume_replay()


@pytest.fixture
def chat(alice):
    """Alice's conversation with a message; both say that they are as the replica has them."""
    conversation = make_conversation(alice, messages=1, title=BEFORE, metadata={"is": BEFORE})
    Message.objects.update(content=BEFORE)
    return conversation


def change_on_primary(standby):
    """Past the services, so that nobody has to see it: whoever does has read the primary."""
    standby.catch_up()
    standby.pause_replay()
    Conversation.objects.update(title=AFTER, metadata={"is": AFTER})
    Message.objects.update(content=AFTER)


def stale_replica(standby, path, *clients):
    """From now on the replica shows BEFORE and the primary AFTER, and all of these clients read
    the replica: also those whose process found it away a moment ago."""
    standby.catch_up()
    for client in clients:
        client.get(path)  # its process learns where the primary is before the change
    change_on_primary(standby)
    for client in clients:
        wait_until(lambda client=client: BEFORE in str(client.get(path).body))
