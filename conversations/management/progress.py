"""Progress bars of long-running commands, only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(total: int | None, *, in_bytes: bool = False) -> Iterator[Advance]:
    """A context with a function that takes the amount done so far, of `total`, and a text.

    `total` is None if unknown, and so is then the remaining time. Both are numbers of items, or
    bytes. The bar, with what is done in a second, is drawn on standard error and removed at the
    end.
    """
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _draw_nothing
        return
    columns = (
        *(BarColumn(), TextColumn("{task.description}", markup=False)),
        *(_Rate(in_bytes), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, text: bar.update(task, completed=done, description=text)


class _Rate(ProgressColumn):
    """What was done in a second of the last half minute."""

    def __init__(self, in_bytes: bool) -> None:
        super().__init__()
        self._in_bytes = in_bytes

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        rate = filesize.decimal(int(speed)) if self._in_bytes else f"{speed:,.0f}"
        return Text(f"{rate}/s")


def _draw_nothing(done: int, text: str) -> None:
    pass
