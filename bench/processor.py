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
_PARENT, _SESSION, _USER, _SYSTEM = 1, 3, 11, 12
_OF_ENDED_CHILDREN = 13, 14


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, the first of its processes, its database's name."""

    port: int
    pid: int
    database: str

    def processor_seconds(self, *, ended: bool = False) -> float:
        """Of all of its processes and of the database's for it since they began; 0 where the
        system does not tell.

        With `ended` also of the processes of the database server that have ended, as those of
        parallel plans do, whichever database they were for.
        """
        ticks, server = 0, ""
        numbers_of = {}
        for folder, numbers in _processes():
            numbers_of[folder.name] = numbers
            with suppress(OSError):  # ended meanwhile
                is_session = self._is_for_it(folder)
                if int(numbers[_SESSION]) == self.pid or is_session:
                    ticks += int(numbers[_USER]) + int(numbers[_SYSTEM])
                server = numbers[_PARENT] if is_session else server
        if ended and server in numbers_of:
            ticks += sum(int(numbers_of[server][place]) for place in _OF_ENDED_CHILDREN)
        return ticks / _TICKS

    def workers(self) -> list[int]:
        """The numbers of its web processes."""
        return [int(folder.name) for folder, of in _processes() if int(of[_PARENT]) == self.pid]

    def _is_for_it(self, folder: Path) -> bool:
        title = (folder / "cmdline").read_bytes()
        return title.startswith(f"postgres: postgres {self.database} ".encode())


def _processes() -> Iterator[tuple[Path, list[str]]]:
    """The folder of each process, and its numbers in /proc/PID/stat."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile
            yield folder, (folder / "stat").read_text().rpartition(")")[2].split()
