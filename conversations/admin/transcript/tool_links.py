"""Which result of a tool belongs to which call, in the messages of a page and those near it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import F, Func, TextField, Value
from django.db.models.functions import Cast

from conversations.admin.conversation.opened import Opened
from conversations.admin.transcript.branches import ShownBranch
from conversations.models import Message
from conversations.models.message import MessageQuerySet

# Tool results are near their calls; at a greater distance (in sequences) none is looked for.
NEAR = 200


def tool_links(
    conversation: Opened, messages: list[Any], branch: ShownBranch | None
) -> tuple[dict[tuple[int, str], int], dict[int, int]]:
    """Results by call and calls by result, as TranscriptPage has them, of the messages and those
    NEAR them: of those on the branch that is shown, where there is one.

    A result belongs to the nearest call before it with its id: some models count their calls
    from zero in each answer.
    """
    results: dict[tuple[int, str], int] = {}
    calls: dict[int, int] = {}
    open_calls: dict[str, int] = {}
    near = _near(conversation, messages[0].sequence, messages[-1].sequence, branch)
    for sequence, answered, call_ids in _tool_rows(near):
        if answered is not None and (call := open_calls.get(answered)) is not None:
            calls[sequence] = call
            results.setdefault((call, answered), sequence)
        for call_id in json.loads(call_ids or "[]"):
            open_calls[str(call_id)] = sequence
    return results, calls


def _near(
    conversation: Opened, first: int, last: int, branch: ShownBranch | None
) -> MessageQuerySet:
    messages = Message.objects.of(conversation.user_id, conversation.pk)
    if branch is None:
        return messages.filter(sequence__gte=first - NEAR, sequence__lte=last + NEAR)
    return messages.filter(sequence__in=branch.near(first, last, NEAR))


def _tool_rows(near: MessageQuerySet) -> Iterable[tuple[int, str | None, str | None]]:
    """(sequence, id of the call answered, ids of the calls made) of the messages with tools."""
    ids = Func(
        F("tool_calls"),
        Value("$[*].id"),
        function="jsonb_path_query_array",
        template="%(function)s(%(expressions)s::jsonpath)",
    )
    with_tools = near.exclude(tool_calls=None, tool_call_id=None).in_order()
    return with_tools.annotate(call_ids=Cast(ids, TextField())).values_list(
        "sequence", "tool_call_id", "call_ids"
    )
