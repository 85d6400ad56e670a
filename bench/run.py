"""Measures this project beside its baseline: `make bench`, or `python bench/run.py --help`.

Everything runs on this machine's loopback, in a temporary folder, and is gone afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import services
from bench.data import Size
from bench.operations import OPERATIONS, Asked, check, requests_of_baseline, requests_of_ours
from bench.processor import Service

SERVICES = ("ours", "baseline")
FIGURES = ("per_second", "p50", "p95", "processor")
WARM_UP = 1.0  # seconds of each operation on each service


@dataclass(frozen=True, slots=True)
class Round:
    """One service under one operation for some seconds. Times are of a request, in milliseconds:
    p50 and p95 as the client waits, `processor` as the service and the database compute."""

    per_second: float
    p50: float
    p95: float
    processor: float

    @classmethod
    def of(cls, result: dict[str, Any], processor_seconds: float) -> Round:
        answers, cuts = result["answers"], statistics.quantiles(result["latencies"], n=20)
        latencies = cuts[9] * 1000, cuts[18] * 1000
        return cls(answers / result["seconds"], *latencies, processor_seconds / answers * 1000)


Results = dict[str, dict[str, list[Round]]]


class Client:
    """The load process, and where it sends what."""

    def __init__(self, process: subprocess.Popen[str], connections: int) -> None:
        self._process, self._connections = process, connections
        self.targets: dict[str, tuple[Service, dict[str, list[Asked]]]] = {}

    def measure(self, name: str, operation: str, seconds: float) -> Round:
        service, asked = self.targets[name]
        job = {
            "port": service.port,
            "requests": [request.text for request in asked[operation]],
            "seconds": seconds,
            "connections": self._connections,
        }
        before = service.processor_seconds()
        answer = self._ask(json.dumps(job))
        if not answer:
            raise SystemExit(f"The load on {name} broke off: {operation}")
        return Round.of(json.loads(answer), service.processor_seconds() - before)

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(line + "\n")
        stdin.flush()
        answer: str = stdout.readline()
        return answer


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    services.install_baseline()
    with _everything_running(options) as client:
        results = _measure(client, options.rounds, options.seconds)
    print(_table(results))
    if options.json:
        options.json.write_text(json.dumps(_as_json(results, options), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Requests a second and latency, beside a baseline")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a round, default: 1.5")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="processes of each service")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--conversations", type=int, default=60, help="of each user, 55 or more")
    parser.add_argument("--messages", type=int, default=60, help="of each of them, 50 or more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


@contextlib.contextmanager
def _everything_running(options: argparse.Namespace) -> Iterator[Client]:
    size = Size(options.users, options.conversations, options.messages)
    with contextlib.ExitStack() as stack:
        environment, dsn = stack.enter_context(services.database())
        _say(f"Seeding {size.users * size.conversations * size.messages:,} messages, twice ...")
        users = services.seed(environment, dsn, size)
        running = [
            stack.enter_context(services.ours(environment, options.workers)),
            stack.enter_context(services.baseline(environment, dsn, options.workers)),
        ]
        client = Client(stack.enter_context(_load_process()), options.connections)
        asked = [requests_of_ours(users), requests_of_baseline(users)]
        client.targets = dict(zip(SERVICES, zip(running, asked, strict=True), strict=True))
        yield client


@contextlib.contextmanager
def _load_process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).with_name("load.py"))]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _measure(client: Client, rounds: int, seconds: float) -> Results:
    """Short rounds by turns, so that whatever else the machine does disturbs both alike."""
    for name, (service, asked) in client.targets.items():
        for operation in OPERATIONS:
            check(service.port, asked[operation][0])
            client.measure(name, operation, WARM_UP)
    results: Results = {operation: {name: [] for name in SERVICES} for operation in OPERATIONS}
    for number in range(rounds):
        for operation in OPERATIONS:
            for name in SERVICES if number % 2 else SERVICES[::-1]:
                results[operation][name].append(client.measure(name, operation, seconds))
        _say(f"Round {number + 1} of {rounds}")
    return results


def _median(rounds: list[Round], name: str) -> float:
    return float(statistics.median(getattr(result, name) for result in rounds))


def _ratio(of: dict[str, list[Round]]) -> float:
    """Ours to the baseline in requests a second: the median of the rounds' own ratios, since
    the two halves of a round ran one after the other."""
    pairs = zip(of["ours"], of["baseline"], strict=True)
    return statistics.median(a.per_second / b.per_second for a, b in pairs)


def _processor_ratio(of: dict[str, list[Round]]) -> float | None:
    """How much less processor time ours takes for a request: above 1 is less."""
    ours, baseline = (_median(of[name], "processor") for name in SERVICES)
    return baseline / ours if ours else None


def _table(results: Results) -> str:
    line = "{:<34}{:>11}{:>8}{:>8}{:>10}{:>8}{:>10}".format
    lines = [line("", "requests/s", "p50 ms", "p95 ms", "cpu ms", "ratio", "cpu ratio")]
    for operation, of in results.items():
        for service, rounds in of.items():
            figures = [
                f"{_median(rounds, name):.{digits}f}"
                for name, digits in zip(FIGURES, (0, 1, 1, 2), strict=True)
            ]
            less = _processor_ratio(of)
            ratios = [f"{_ratio(of):.2f}x", f"{less:.2f}x" if less else "-"]
            ratios = ratios if service == "ours" else ["", ""]
            lines.append(line(f"{operation}, {service}", *figures, *ratios).rstrip())
    return "\n".join(lines)


def _as_json(results: Results, options: argparse.Namespace) -> dict[str, Any]:
    figures = {
        operation: {
            "ratio": _ratio(of),
            "processor_ratio": _processor_ratio(of),
            **{
                service: {
                    name: {
                        "median": _median(rounds, name),
                        "rounds": [getattr(result, name) for result in rounds],
                    }
                    for name in FIGURES
                }
                for service, rounds in of.items()
            },
        }
        for operation, of in results.items()
    }
    asked = {name: value for name, value in vars(options).items() if name != "json"}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return {"options": asked, "machine": machine, "operations": figures}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
