"""Progress bars of long-running commands, only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(total: int | None) -> Iterator[Advance]:
    """A context with a function that takes the amount done so far, of `total`, and a text.

    `total` is None if unknown. The bar is drawn on standard error and removed at the end.
    """
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _draw_nothing
        return
    columns = BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, text: bar.update(task, completed=done, description=text)


def _draw_nothing(done: int, text: str) -> None:
    pass
