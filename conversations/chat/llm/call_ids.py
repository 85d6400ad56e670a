"""Ids of tool calls without repeats: some models count theirs from zero in each answer.

A result names the call that it answers by its id, and openai-agents runs no second call under
an id that it has seen.
"""

from __future__ import annotations

from collections.abc import Iterable


class CallIds:
    """The ids that a model is shown, or has given, in one turn."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def unique(self, call_id: str) -> str:
        """The id itself, or where it is taken with a number: `call_0`, `call_0-2`."""
        found, number = call_id, 1
        while found in self._taken:
            number += 1
            found = f"{call_id}-{number}"
        self._taken.add(found)
        return found
