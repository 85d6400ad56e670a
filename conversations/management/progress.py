"""Progress bars of long commands: on a terminal only, never in a pipe or a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(total: int | None) -> Iterator[Advance]:
    """Give a function that takes what is done so far, of `total`, and a text to show beside it.

    `total` None is not known. The bar is drawn on standard error and wiped at the end.
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
