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


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, the first of its processes, its database's name."""

    port: int
    pid: int
    database: str

    def processor_seconds(self) -> float:
        """Of all of its processes and of the database's for it since they began; 0 where the
        system does not tell."""
        ticks = 0
        for folder, numbers in _processes():
            with suppress(OSError):  # ended meanwhile
                if int(numbers[_SESSION]) == self.pid or self._is_for_it(folder):
                    ticks += int(numbers[_USER]) + int(numbers[_SYSTEM])
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
