"""Appends with keys while the database is stopped every five seconds, in a fast shutdown and an
immediate one by turns.

    .venv/bin/python -m bench.faults.stopped_database [--seconds 60]
"""

from __future__ import annotations

import itertools
import signal

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation

# A fast shutdown ends the sessions and writes a checkpoint; an immediate one ends as a crash.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
_kinds = itertools.cycle([FAST, IMMEDIATE])


def stop(installation: Installation) -> None:
    installation.signal_postmaster(next(_kinds))


FAULT = Fault(stop, every=5)

if __name__ == "__main__":
    main(FAULT, __doc__)
