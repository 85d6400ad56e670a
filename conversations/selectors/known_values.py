"""Values that the filters of the admin offer: never by reading a whole table.

Where an index leads with the column, its distinct values are found one after the other (a loose
index scan, as https://wiki.postgresql.org/wiki/Loose_indexscan has it). Else the newest rows are
looked at. Either way at most SHOWN come: a value that is not among them can still be typed.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Group, User

from conversations.db.owners import is_distributed
from conversations.db.replicas import read_connection
from conversations.models import ApiToken, Conversation

SHOWN = 100
# Of columns without an index, the newest this many rows are looked at.
_SAMPLE = 2_000

_DISTINCT = """
    WITH RECURSIVE found AS (
        (SELECT {columns} FROM {table} WHERE {condition} ORDER BY {columns} LIMIT 1)
        UNION ALL
        SELECT following.* FROM found, LATERAL (
            SELECT {columns} FROM {table}
            WHERE {condition} AND ({columns}) > ({last}) ORDER BY {columns} LIMIT 1
        ) following
    )
    SELECT * FROM found LIMIT {shown}
"""
_SAMPLED = """
    SELECT DISTINCT {columns} FROM (
        SELECT {columns} FROM {table} WHERE {condition} ORDER BY created_at DESC LIMIT {sample}
    ) newest LIMIT {shown}
"""
_ANSWERS = "role = 'assistant'"
# The calls that the newest results of tools belong to: a call stands shortly before its result.
_TOOLS = """
    SELECT DISTINCT call -> 'function' ->> 'name' FROM (
        SELECT user_id, conversation_id, sequence FROM conversations_message
        WHERE role = 'tool' ORDER BY created_at DESC LIMIT 300
    ) result, LATERAL (
        SELECT tool_calls FROM conversations_message message
        WHERE message.user_id = result.user_id
            AND message.conversation_id = result.conversation_id
            AND message.sequence BETWEEN result.sequence - 20 AND result.sequence
            AND message.tool_calls IS NOT NULL
    ) calls, LATERAL jsonb_array_elements(calls.tool_calls) call LIMIT %s
"""


def usernames(begin: str) -> list[str]:
    """Users whose name begins so, in order; none without a beginning."""
    if not begin:
        return []
    found = User.objects.filter(username__startswith=begin).order_by("username")
    return list(found.values_list("username", flat=True)[:20])


def staff_names(begin: str) -> list[str]:
    found = User.objects.filter(username__startswith=begin, is_staff=True).order_by("username")
    return list(found.values_list("username", flat=True)[:SHOWN])


def group_names(begin: str) -> list[str]:
    found = Group.objects.filter(name__startswith=begin).order_by("name")
    return list(found.values_list("name", flat=True)[:SHOWN])


def namespaces(begin: str) -> list[str]:
    """Of the newest tokens."""
    newest = ApiToken.objects.order_by("-created_at", "-id").values_list("namespace", flat=True)
    return _sorted(newest[:_SAMPLE], begin)


def models(begin: str) -> list[str]:
    """Models of conversations."""
    return _sorted(_distinct("conversations_conversation", "model_used"), begin)


def sources(begin: str) -> list[str]:
    """Of the conversations with the newest activity."""
    newest = Conversation.objects.order_by("-updated_at", "-id").values_list("source", flat=True)
    return _sorted(newest[:_SAMPLE], begin)


def tags(begin: str) -> list[str]:
    """Of the conversations with the newest activity."""
    newest = Conversation.objects.order_by("-updated_at", "-id").values_list("tags", flat=True)
    return _sorted((tag for tags in newest[:_SAMPLE] for tag in tags), begin)[:SHOWN]


def providers(begin: str) -> list[str]:
    return _sorted(_distinct("conversations_message", "provider", condition=_ANSWERS), begin)


def answer_models(begin: str) -> list[str]:
    """Models of single answers."""
    # The index has the provider first.
    columns = ("provider", "model")
    return _sorted(_distinct("conversations_message", *columns, condition=_ANSWERS), begin)


def modes(begin: str) -> list[str]:
    condition = "detected_mode IS NOT NULL"
    return _sorted(_distinct("conversations_message", "detected_mode", condition=condition), begin)


def tools(begin: str) -> list[str]:
    """Names of the functions that were called lately."""
    with read_connection().cursor() as cursor:
        cursor.execute(_TOOLS, [SHOWN])
        return _sorted([name for (name,) in cursor.fetchall()], begin)


def _distinct(table: str, *columns: str, condition: str = "true") -> list[str]:
    """The distinct values of the last column, by an index that leads with all of them.

    A cluster knows no such recursion over all owners: there, those of the newest rows.
    """
    statement = (_SAMPLED if is_distributed() else _DISTINCT).format(
        table=table,
        columns=", ".join(columns),
        last=", ".join(f"found.{column}" for column in columns),
        condition=condition,
        shown=SHOWN,
        sample=_SAMPLE,
    )
    with read_connection().cursor() as cursor:
        cursor.execute(statement)
        return [row[-1] for row in cursor.fetchall()]


def _sorted(values: Iterable[str | None], begin: str) -> list[str]:
    return sorted({value for value in values if value and value.startswith(begin)})
