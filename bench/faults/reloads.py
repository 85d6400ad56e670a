"""Appends with keys while all web processes are replaced every five seconds.

.venv/bin/python -m bench.faults.reloads [--seconds 60]
"""

from __future__ import annotations

import signal

from bench.faults.fault import Fault, main
from bench.faults.installation import Installation


def reload(installation: Installation) -> None:
    installation.process.send_signal(signal.SIGHUP)


FAULT = Fault(reload, every=5)

if __name__ == "__main__":
    main(FAULT, __doc__)
