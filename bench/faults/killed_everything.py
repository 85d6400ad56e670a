"""Appends with keys while all processes, of the web server and the database, are killed at once and
the server is started again, every five seconds.

    .venv/bin/python -m bench.faults.killed_everything [--seconds 60]
"""

from __future__ import annotations

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation


def kill_and_start(installation: Installation) -> None:
    installation.kill()
    installation.start()


FAULT = Fault(kill_and_start, every=5, connections_are_lost=True)

if __name__ == "__main__":
    main(FAULT, __doc__)
