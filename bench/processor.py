"""How much processor time a service has taken, its database sessions included (Linux).

On a machine with other work beside it, requests a second tell what was left over; processor
time for each request does not depend on that as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Places in /proc/PID/stat after the command's name.
_PARENT, _SESSION, _OWN, _ENDED_CHILDREN = 1, 3, (11, 12), (13, 14)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, the first of its processes, the name of its database and
    the first process of the database server."""

    port: int
    pid: int
    database: str
    server: int

    def processor_seconds(self) -> float:
        """Of all of its processes and of the database's for it since they began; 0 where the
        system does not tell.

        Processes of the database server that have ended, as those of parallel plans do, count for
        whoever asks next.
        """
        title, ticks = f"postgres: postgres {self.database} ".encode(), 0
        for folder, numbers in _processes():
            if int(folder.name) == self.server:
                ticks += sum(int(numbers[place]) for place in _ENDED_CHILDREN)
            elif self.pid == int(numbers[_SESSION]) or (
                self.server == int(numbers[_PARENT]) and _title_of(folder).startswith(title)
            ):
                ticks += sum(int(numbers[place]) for place in _OWN)
        return ticks / _TICKS

    def workers(self) -> list[int]:
        """The numbers of its web processes: forked from the one that has loaded the application,
        which the first process has started."""
        parents = {int(folder.name): int(numbers[_PARENT]) for folder, numbers in _processes()}
        return [pid for pid, parent in parents.items() if parents.get(parent) == self.pid]


def _processes() -> Iterator[tuple[Path, list[str]]]:
    """The folder of each process, and its numbers in /proc/PID/stat."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            yield folder, (folder / "stat").read_text().rpartition(")")[2].split()


def _title_of(folder: Path) -> bytes:
    with suppress(OSError):  # ended meanwhile
        return (folder / "cmdline").read_bytes()
    return b""
