"""The tests on a Citus coordinator, which `TEST_DATABASE_URL` names: the tables are distributed.

Each test database is spread over the workers that the server's database `postgres` has, or, where
it has none, is a cluster of one node. `@pytest.mark.cluster` is a test that needs a cluster,
`@pytest.mark.one_node("why")` one that cannot hold there; both are skipped loudly elsewhere.
"""

import io
import json
from contextlib import contextmanager

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations

from conversations.db.owners import is_distributed

ABSENT = (
    "NO CITUS: the tests of a distributed database do not run. Name a coordinator in "
    "TEST_DATABASE_URL (docs/scale.md)"
)
MARKERS = {"one_node", "cluster"}
NOT_HERE = "ON A CITUS CLUSTER: {}"

WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND isactive"


def has_citus() -> bool:
    """Whether the server of the tests has loaded Citus."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('shared_preload_libraries') ~ 'citus'")
        return bool(cursor.fetchone()[0])


def skip_elsewhere(item, *, on_cluster):
    """Skip a test that its markers keep from this server."""
    one_node = item.get_closest_marker("one_node")
    if one_node and on_cluster:
        (reason,) = one_node.args
        pytest.skip(NOT_HERE.format(reason))
    if item.get_closest_marker("cluster") and not on_cluster:
        pytest.skip(ABSENT)


def distribute_test_database():
    """Make the test database a cluster, and shard its tables by owner; the workers it is on."""
    workers = _workers()
    for worker in workers:
        _create_database(*worker)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS citus")
        cursor.execute("SELECT current_setting('port')::int")
        here = [connection.settings_dict["HOST"] or "localhost", cursor.fetchone()[0]]
        cursor.execute("SELECT citus_set_coordinator_host(%s, %s)", here)
        for worker in workers:
            cursor.execute("SELECT citus_add_node(%s, %s)", worker)
        if not workers:
            cursor.execute("SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', true)", here)
    call_command("distribute", stdout=io.StringIO())
    return workers


@contextmanager
def flushing_all_tables():
    """Tests without a transaction of their own end with a TRUNCATE of the tables that Django knows;
    that of the conversations' owners goes with them."""
    sql_flush = DatabaseOperations.sql_flush

    def with_owners(self, *args, **options):
        return sql_flush(self, *args, **options | {"allow_cascade": True})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", with_owners)
        yield


def drop_from_workers(workers):
    """The database that Django drops on the coordinator alone."""
    for host, port in workers:
        with _connected(host, port, "postgres") as cursor:
            cursor.execute(_drop_database())


def _workers():
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_dist_node') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(WORKERS)
        return cursor.fetchall()


def _create_database(host, port):
    name = connection.settings_dict["NAME"]
    with _connected(host, port, "postgres") as cursor:
        cursor.execute(_drop_database())
        cursor.execute(f"CREATE DATABASE {connection.ops.quote_name(name)}")
    with _connected(host, port, name) as cursor:
        cursor.execute("CREATE EXTENSION citus")


def _drop_database():
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    return f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"


@contextmanager
def _connected(host, port, database):
    place = {"host": host, "port": port, "dbname": database}
    with_names = {name: connection.settings_dict[name.upper()] for name in ("user", "password")}
    link = psycopg2.connect(**place, **with_names)
    try:
        link.autocommit = True
        with link.cursor() as cursor:
            yield cursor
    finally:
        link.close()


def cursors_of_every_node():
    """A cursor on each node of the cluster, with shards as tables, or on the one server."""
    with connection.cursor() as cursor:
        if not is_distributed():
            yield cursor
            return
        cursor.execute("SELECT nodename, nodeport FROM pg_dist_node WHERE isactive")
        nodes = cursor.fetchall()
    for host, port in nodes:
        with _connected(host, port, connection.settings_dict["NAME"]) as cursor:
            cursor.execute("SET citus.override_table_visibility = off")
            yield cursor


def analyze(table):
    """Statistics for the planner; a cluster gathers none within a transaction that has written."""
    if not is_distributed():
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {table}")


def someone_waits_for_a_lock() -> bool:
    """Whether a session of this database does, on any node."""
    for cursor in cursors_of_every_node():
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # kept until the transaction ends
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        if cursor.fetchone()[0]:
            return True
    return False


def plan_lines_of(sql, values=()):
    """The lines of `EXPLAIN`, where the planner avoids reading a whole table.

    A table of a few rows is best read whole. With that made dear, a plan that still does it is one
    for which there is no index.
    """
    with connection.cursor() as cursor:
        if is_distributed():
            cursor.execute("SET LOCAL citus.propagate_set_commands = 'local'")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}", values)
        plan = [line for (line,) in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_seqscan = on")
    return plan


def plans_of(sql, values=(), *, execute=False):
    """The plans of a statement as `EXPLAIN (FORMAT JSON)` gives them: on a cluster those of the
    shards that are shown, which is one of each kind."""
    options = "ANALYZE, FORMAT JSON" if execute else "FORMAT JSON"
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({options}) {sql}", values)
        plan = cursor.fetchone()[0]
    plans = json.loads(plan) if isinstance(plan, str) else plan
    return list(_of_shards(plans)) or plans


def _of_shards(node):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "Remote Plan":
                for plans in value:
                    yield from plans
            else:
                yield from _of_shards(value)
    elif isinstance(node, list):
        for value in node:
            yield from _of_shards(value)
