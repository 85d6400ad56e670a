"""Ids of tool calls without repeats: some models count theirs from zero in each answer.

A result names the call that it answers by its id, and openai-agents runs no second call under
an id that it has seen.
"""

from __future__ import annotations


def unique_call_id(call_id: str, taken: set[str]) -> str:
    """The id itself, or where it is taken with a number (`call_0`, `call_0-2`); now taken too."""
    found, number = call_id, 1
    while found in taken:
        number += 1
        found = f"{call_id}-{number}"
    taken.add(found)
    return found
