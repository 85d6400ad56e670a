"""The tests on a Citus coordinator, which `TEST_DATABASE_URL` names: the tables are distributed.

The one node is the whole cluster, so that every test database can be made one: what a cluster
refuses to plan or to lock it refuses there too. Where the server has no Citus, the tests of the
cluster are skipped loudly.
"""

import io

import pytest
from django.core.management import call_command
from django.db import connection

ABSENT = (
    "NO CITUS: the tests of a distributed database do not run. Name a coordinator in "
    "TEST_DATABASE_URL (docs/scale.md)"
)


def has_citus() -> bool:
    """Whether the server of the tests has loaded Citus."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('shared_preload_libraries') ~ 'citus'")
        return bool(cursor.fetchone()[0])


def distribute_test_database():
    """Make the test database a cluster of one node, and shard its tables by owner."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS citus")
        cursor.execute("SELECT current_setting('port')::int")
        port = cursor.fetchone()[0]
        cursor.execute("SELECT citus_set_coordinator_host('localhost', %s)", [port])
        cursor.execute(
            "SELECT citus_set_node_property('localhost', %s, 'shouldhaveshards', true)", [port]
        )
    call_command("distribute", stdout=io.StringIO())


def needs_cluster():
    if not has_citus():
        pytest.skip(ABSENT)
