"""Which result answers which tool call, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class ToolLinks:
    """`results`: a call, by its message's sequence and its id, to the sequence of its result.
    `calls`: a result, by its sequence, to the sequence of the message that called."""

    results: dict[tuple[int, str], int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)

    def results_of(self, sequence: int) -> dict[str, int]:
        """For each call of this message, by id, the sequence of its result."""
        return {name: at for (call, name), at in self.results.items() if call == sequence}


def link_tools(events: Iterable[tuple[int, str | None, str | None]]) -> ToolLinks:
    """Events in order, as `reading.tool_events` has them.

    A result belongs to the nearest call before it with its id: some models count their calls
    from zero in each answer.
    """
    links = ToolLinks()
    open_calls: dict[str, int] = {}
    for sequence, answered, call_ids in events:
        if answered is not None and (call := open_calls.get(answered)) is not None:
            links.calls[sequence] = call
            links.results.setdefault((call, answered), sequence)
        for call_id in json.loads(call_ids or "[]"):
            open_calls[str(call_id)] = sequence
    return links
