"""Hooks that run when this process is told to end, before the web server waits for its requests.

A web server that is told to stop first waits for its open requests, streams among them, so turns
must be ended before: the server calls `run_hooks`. Any other process runs them as it exits.
"""

from __future__ import annotations

import multiprocessing.util
from collections.abc import Callable

_hooks: list[Callable[[], None]] = []


def before_end(hook: Callable[[], None]) -> None:
    """Call `hook` once this process is told to end, or does; it may be called twice."""
    _hooks.append(hook)
    # Children of multiprocessing skip atexit and run these, as every other process does.
    multiprocessing.util.Finalize(None, hook, exitpriority=100)


def run_hooks() -> None:
    for hook in _hooks:
        hook()
