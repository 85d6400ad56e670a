"""DATABASE_REPLICA_URLS as entries of DATABASES."""

from chatproject.database_replicas import replicas
from conversations.db.replicas import Router
from conversations.models import ApiToken, Conversation

PRIMARY = {"CONN_MAX_AGE": 7}
URLS = ["postgres://chat:secret@10.0.0.2:5433/chat", "postgres://10.0.0.3/chat?sslmode=require"]


def test_each_url_is_an_entry_that_lives_as_long_as_the_primarys():
    made = replicas(URLS, PRIMARY, statement_timeout=30)
    assert list(made) == ["replica_1", "replica_2"]
    first, second = made.values()
    assert (first["HOST"], first["PORT"], first["NAME"]) == ("10.0.0.2", 5433, "chat")
    assert (first["USER"], first["PASSWORD"], first["CONN_MAX_AGE"]) == ("chat", "secret", 7)
    assert second["OPTIONS"]["sslmode"] == "require"
    assert first["TEST"] == {"MIRROR": "default"}


def test_a_replica_is_given_up_soon():
    (entry,) = replicas(URLS[:1], PRIMARY, statement_timeout=30).values()
    assert entry["OPTIONS"]["connect_timeout"] == 2
    assert entry["OPTIONS"]["options"] == "-c statement_timeout=10000"


def test_a_shorter_timeout_of_web_requests_counts_and_none_sends_no_options():
    (short,) = replicas(URLS[:1], PRIMARY, statement_timeout=3).values()
    (none,) = replicas(URLS[:1], PRIMARY, statement_timeout=0).values()
    assert short["OPTIONS"]["options"] == "-c statement_timeout=3000"
    assert "options" not in none["OPTIONS"]


def test_without_urls_there_is_none():
    assert replicas([], PRIMARY, statement_timeout=30) == {}


def test_nothing_is_written_or_migrated_there():
    router = Router()
    assert router.db_for_write(Conversation) == "default"
    assert not router.allow_migrate("replica_1", "conversations")
    assert router.allow_migrate("default", "conversations")
    # Outside of a request that may read there.
    assert router.db_for_read(Conversation) == router.db_for_read(ApiToken) == "default"
