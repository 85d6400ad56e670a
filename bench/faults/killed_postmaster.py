"""Appends with keys while the first process of the database is killed every five seconds.

.venv/bin/python -m bench.faults.killed_postmaster [--seconds 60]
"""

from __future__ import annotations

import signal

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation


def kill(installation: Installation) -> None:
    installation.signal_postmaster(signal.SIGKILL)


FAULT = Fault(kill, every=5)

if __name__ == "__main__":
    main(FAULT, __doc__)
