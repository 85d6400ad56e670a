"""Appends with keys while a random process of the database, which serves one connection, is killed
each second.

    .venv/bin/python -m bench.faults.killed_backends [--seconds 60]

PostgreSQL then ends all connections and recovers from its log, as it does after any crash.
"""

from __future__ import annotations

import random
import signal

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation, signal_all


def kill_one(installation: Installation) -> None:
    backends = installation.backends
    signal_all(random.sample(backends, min(1, len(backends))), signal.SIGKILL)


FAULT = Fault(kill_one, every=1)

if __name__ == "__main__":
    main(FAULT, __doc__)
