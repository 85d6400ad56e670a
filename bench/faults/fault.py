"""A fault that happens again and again while clients append, and a script that ends with counts."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.faults.appending import Clients, Outcome
from bench.faults.installation import Installation, installed

RECOVERS_WITHIN = 120  # seconds


@dataclass(frozen=True)
class Fault:
    """`happen` returns when it is over, and happens every so many seconds."""

    happen: Callable[[Installation], None]
    every: float
    # Whether clients may find their connection closed: a web process has died.
    connections_are_lost: bool = False
    padding: int = 0


def main(fault: Fault, text: str | None) -> None:
    """Ends with status 1 if the counts are not what they must be."""
    options = arguments(text)
    with installed(Path(tempfile.mkdtemp(prefix="faults-"))) as installation:
        outcome = disturb(installation, fault, options.seconds)
    sys.exit(report(outcome, fault))


def arguments(text: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    return parser.parse_args()


def disturb(installation: Installation, fault: Fault, seconds: float) -> Outcome:
    """The fault at least once, and then until so many seconds have gone by."""
    clients = Clients(installation, padding=fault.padding)
    with clients.appending() as outcome:
        end = time.monotonic() + seconds
        while not outcome.faults or time.monotonic() + fault.every < end:
            time.sleep(fault.every)
            fault.happen(installation)
            outcome.faults.append(time.monotonic())
        _wait_for_recovery(outcome)
    return outcome


def _wait_for_recovery(outcome: Outcome) -> None:
    deadline = time.monotonic() + RECOVERS_WITHIN
    while outcome.recoveries[-1] == float("inf") and time.monotonic() < deadline:
        time.sleep(0.1)


def report(outcome: Outcome, fault: Fault) -> int:
    print(outcome)
    failures = outcome.failures(connections_are_lost=fault.connections_are_lost)
    for one in failures:
        print(f"FAILED: {one}")
    return 1 if failures else 0
