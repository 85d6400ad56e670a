"""The tools of settings.CHAT_TOOLS: functions that the model may call."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from conversations.chat.llm.agent_loop import library


def tools() -> list[Any]:
    """The configured tools, in their order."""
    return _tools(tuple(settings.CHAT_TOOLS))


def tool_names() -> list[str]:
    """The names by which the model calls them; without the agent library."""
    found = map(import_string, settings.CHAT_TOOLS)
    return [getattr(tool, "name", None) or tool.__name__ for tool in found]


@cache
def _tools(paths: Sequence[str]) -> list[Any]:
    return [_tool(import_string(path)) for path in paths]


def _tool(found: Any) -> Any:
    """A function becomes a tool by its signature and docstring; a tool stays one."""
    agents = library()
    if isinstance(found, agents.FunctionTool):
        return found
    # Not strict: a tool may take what strict schemas forbid, such as defaults.
    return agents.function_tool(_in_thread(found), strict_mode=False)


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function must not hold up other turns, nor keep a database connection."""
    if inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def call(*arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(_call, function, *arguments, **options)

    return call


def _call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    finally:
        connection.close()
