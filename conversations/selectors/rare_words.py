"""Which words are too rare to look for them in the newest messages first.

Left alone, the planner takes a word that its statistics do not have for one in 0.5 % of the
messages, and reads all of them, the newest first.
"""

from __future__ import annotations

from conversations.db.replicas import read_connection

# So many pages of the table, and places in each, are looked at to tell rare words from common ones:
# always the same ones, which are in memory.
SAMPLED_PAGES, SAMPLED_ITEMS = 48, 8


def are_rare(tsquery: str, limit: int) -> bool:
    """Whether `limit` messages that match are found faster by the GIN index on their words than by
    the index on created_at. One query.

    Of N messages of which a share f matches, the second reads limit / f and the first f * N; f is
    estimated from a sample.
    """
    with read_connection().cursor() as cursor:
        sizes = {"pages": SAMPLED_PAGES, "items": SAMPLED_ITEMS}
        cursor.execute(_SAMPLE, sizes | {"tsquery": tsquery})
        sampled, found, messages = cursor.fetchone()
    return bool(found**2 * messages < limit * sampled**2)


# By place, as TABLESAMPLE looks at the number of each page of the table.
_SAMPLE = """
    SELECT count(*), count(*) FILTER (WHERE search @@ %(tsquery)s::tsquery),
        (SELECT greatest(reltuples, pg_relation_size(oid) / current_setting('block_size')::bigint)
        FROM pg_class WHERE oid = 'conversations_message'::regclass)
    FROM conversations_message WHERE ctid = ANY (ARRAY(
        SELECT ('(' || number * pages / least(pages, %(pages)s) || ',' || item || ')')::tid
        FROM (
            SELECT pg_relation_size('conversations_message')
                / current_setting('block_size')::bigint AS pages
        ) AS message_table,
        generate_series(0, least(pages, %(pages)s) - 1) AS number,
        generate_series(1, %(items)s) AS item
    ))
"""
