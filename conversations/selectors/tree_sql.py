"""SQL of a message's parent and children, which no column holds: the places of messages tell.

In the functions of the database whose arguments are `owner` and `chat`. `m`, `p` and `b` are the
tables of messages, of messages before them, and of branches; M, P and B say whose rows they are.
"""

from __future__ import annotations

from conversations.models.branch_path import CONTINUED

_OF_CONVERSATION = "{0}.user_id = owner AND {0}.conversation_id = chat"
M, P, B = (_OF_CONVERSATION.format(name) for name in "mpb")

# The last message of the first line before the first fork.
LINE_END = f"""(
    SELECT (b.segments -> 0 ->> 1)::integer FROM conversations_branch b
    WHERE {B} AND b.number = 0)"""  # noqa: S608

# The message before `m` on its path: of the same branch, or where that forked; of what was added
# to the first line after it forked, the line's end. The nearest has the highest sequence.
PARENT = f"""(
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {P} AND p.branch = 0 AND m.branch = 0 AND p.sequence < m.sequence
    ORDER BY p.sequence DESC LIMIT 1)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {P} AND p.branch = m.branch AND p.branch <> 0 AND m.branch <> 0
        AND p.sequence < m.sequence
    ORDER BY p.sequence DESC LIMIT 1)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_branch b
    JOIN conversations_message p ON {P} AND p.sequence = b.fork_sequence
    WHERE {B} AND b.number = m.branch AND m.branch > 0)
    UNION ALL
    (SELECT p.id, p.sequence FROM conversations_message p
    WHERE {P} AND p.branch = 0 AND m.branch = {CONTINUED}
        AND p.sequence <= {LINE_END}
    ORDER BY p.sequence DESC LIMIT 1)
    ORDER BY sequence DESC LIMIT 1)"""  # noqa: S608

# What follows the message `fork`: the next one of its branch, and the first of each branch that
# forked there. Only called for the places where branches forked.
CHILDREN = f"""
    SELECT COALESCE(json_agg(child.id ORDER BY child.sequence), '[]') FROM (
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {M} AND m.branch = 0 AND fork.branch = 0
            AND m.sequence > fork.sequence AND m.sequence <= line_end
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {M} AND m.branch = {CONTINUED} AND m.branch <> 0 AND fork.branch = 0
            AND NOT EXISTS (
                SELECT FROM conversations_message p
                WHERE {P} AND p.branch = 0 AND p.sequence > fork.sequence
                    AND p.sequence <= line_end)
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        (SELECT m.id, m.sequence FROM conversations_message m
        WHERE {M} AND m.branch = fork.branch AND m.branch <> 0 AND fork.branch <> 0
            AND m.sequence > fork.sequence
        ORDER BY m.sequence LIMIT 1)
        UNION ALL
        SELECT first.id, first.sequence FROM conversations_branch b
        CROSS JOIN LATERAL (
            SELECT m.id, m.sequence FROM conversations_message m
            WHERE {M} AND m.branch = b.number AND m.branch <> 0
            ORDER BY m.sequence LIMIT 1
        ) AS first
        WHERE {B} AND b.number > 0 AND b.fork_sequence = fork.sequence
    ) AS child
"""  # noqa: S608
