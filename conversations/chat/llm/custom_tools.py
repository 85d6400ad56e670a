"""Custom tools, which take text, as functions with one text: for models that know no others."""

from __future__ import annotations

import orjson

# The one argument of such a function.
INPUT = "input"


def arguments_of(text: str) -> str:
    """The arguments of the function that a custom tool is shown as."""
    return orjson.dumps({INPUT: text}).decode()


def text_in(arguments: str) -> str:
    """What the tool is called with; where a model does not keep to the form, all that it wrote."""
    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = given.get(INPUT) if isinstance(given, dict) else None
    return text if isinstance(text, str) else arguments
