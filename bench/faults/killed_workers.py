"""Appends with keys while a random web process is killed each second.

.venv/bin/python -m bench.faults.killed_workers [--seconds 60]
"""

from __future__ import annotations

import random
import signal

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation, signal_all


def kill_one(installation: Installation) -> None:
    workers = installation.workers
    signal_all(random.sample(workers, min(1, len(workers))), signal.SIGKILL)


FAULT = Fault(kill_one, every=1, connections_are_lost=True)

if __name__ == "__main__":
    main(FAULT, __doc__)
