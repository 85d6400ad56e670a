"""What the processes of this machine count: requests, turns, tokens, and what the server does now.

With PROMETHEUS_MULTIPROC_DIR the figures are those of all processes that share that folder, as
`serve` gives it to its workers; else those of this process alone. A process has a numbered place
there, which it holds by a file lock. One that starts takes the place of one that has ended, whose
counters it goes on with: so there are no more files than there were processes at once.

Imports no model: the middleware imports it before there are any.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, wraps
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Sample

from conversations import process_locks

if TYPE_CHECKING:
    from conversations.models.turn import Turn

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
# Written to when a process takes its place. A file that is mapped into memory must not get its
# blocks later: on a full disk that would kill the process.
FILE_BYTES = {"histogram": 2 << 20, "counter": 1 << 17, "gauge_livesum": 1 << 16}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TURN_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
# Callers name models: no more than so many of a process get their own label.
MAX_MODELS = 50
OTHER = "other"

NOT_SHARED = "Metrics are those of each process alone: %s cannot be used (%s)"

NOT_COUNTED = "What this process does is not counted: %s cannot be used (%s)"

log = logging.getLogger(__name__)

P = ParamSpec("P")

_is_counting = True
_place: int | None = None


def _own_place() -> int:
    return _take_place() if _place is None else _place


def _take_place() -> int:
    """The first place that no process holds. Raises OSError."""
    global _place
    for number in count():
        with suppress(BlockingIOError):
            descriptor = process_locks.lock(_lock_file(number), wait=False)
            # In place, as what follows: a process that takes the place of another one on a full
            # disk needs no new blocks.
            os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)
            _clear(_gauges(number))
            for kind, size in FILE_BYTES.items():
                _allocate(Path(FOLDER, f"{kind}_{number}.db"), size)
            _place = number
            return number
    raise AssertionError


def _allocate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.write(bytes(max(0, size - file.tell())))


def _clear(path: Path) -> None:
    with suppress(FileNotFoundError), path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def _lock_file(number: int) -> Path:
    return Path(FOLDER, f"{number}.lock")


def _gauges(number: int) -> Path:
    return Path(FOLDER, f"gauge_livesum_{number}.db")


def _give_up_place() -> None:
    """A forked process takes one of its own; the lock is its parent's."""
    global _place
    _place = None


def _choose_values() -> bool:
    """Whether the figures are shared; before the first of them is made."""
    values.ValueClass = values.MutexValue
    if not FOLDER:
        return False
    try:
        Path(FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        _take_place()
    except OSError as error:
        log.warning(NOT_SHARED, FOLDER, error.strerror)
        return False
    os.register_at_fork(after_in_child=_give_up_place)
    values.ValueClass = values.MultiProcessValue(_own_place)
    return True


IS_SHARED = _choose_values()
REGISTRY = CollectorRegistry()
_requests = Histogram(
    "conversations_http_request_duration_seconds",
    "Time from the begin of a request's thread to the head of its response",
    ["route", "method", "status"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)
_turns = Histogram(
    "conversations_turn_duration_seconds",
    "Time from a question to the end of its answer",
    ["provider", "model", "status"],
    buckets=TURN_BUCKETS,
    registry=REGISTRY,
)
_first_tokens = Histogram(
    "conversations_turn_first_token_seconds",
    "Time from a question to the first text of its answer",
    ["provider", "model"],
    buckets=TURN_BUCKETS,
    registry=REGISTRY,
)
_tokens = Counter(
    "conversations_turn_tokens",
    "Tokens of turns, as providers count them",
    ["provider", "model", "kind"],
    registry=REGISTRY,
)
_application_turns = Counter(
    "conversations_application_turns",
    "Answers that applications streamed and ended",
    ["status"],
    registry=REGISTRY,
)
_abandoned = Counter(
    "conversations_turns_abandoned",
    "Answers found without a process, and set to interrupted",
    registry=REGISTRY,
)
_server = {
    name: Gauge(
        f"conversations_server_{name}", text, multiprocess_mode="livesum", registry=REGISTRY
    )
    for name, text in {
        "requests": "Open requests, streams included",
        "waiting": "Of these, event streams and others that wait in the event loop",
        "queued": "Of these, those that wait for a thread",
        "busy_threads": "Threads that run a request or make a piece of a response",
        "threads": "Threads of the pools",
        "turns": "Turns that run",
    }.items()
}
_children: dict[tuple[str, str | None, int], Histogram] = {}
_models: set[tuple[str, str]] = set()


def _if_possible(count: Callable[P, None]) -> Callable[P, None]:
    """No request fails because it cannot be counted, as when the folder is gone. The log says so
    once."""

    @wraps(count)
    def counted(*args: P.args, **kwargs: P.kwargs) -> None:
        global _is_counting
        try:
            count(*args, **kwargs)
        except OSError as error:
            if _is_counting:
                log.warning(NOT_COUNTED, FOLDER, error.strerror)
            _is_counting = False

    return counted


@_if_possible
def count_request(route: str | None, method: str | None, status: int, seconds: float) -> None:
    """`route` is the name of the view; None where no view was found."""
    key = (route or "none", method if method in METHODS else OTHER, status)
    child = _children.get(key)
    if child is None:
        child = _children[key] = _requests.labels(*key)
    child.observe(seconds)


@_if_possible
def count_turn(turn: Turn, seconds: float) -> None:
    """A turn of a model of ours that has ended, after so many seconds."""
    labels = turn.provider, _model_label(turn)
    _turns.labels(*labels, turn.status).observe(seconds)
    if turn.first_token_ms is not None:
        _first_tokens.labels(*labels).observe(turn.first_token_ms / 1000)
    for name, number in turn.usage.items():
        if name.endswith("_tokens") and number:
            _tokens.labels(*labels, name.removesuffix("_tokens")).inc(number)


@_if_possible
def count_application_turn(status: str) -> None:
    """A turn that an application has run and ended."""
    _application_turns.labels(status).inc()


@_if_possible
def count_abandoned(number: int) -> None:
    _abandoned.inc(number)


@_if_possible
def show_server(figures: dict[str, int]) -> None:
    """What the server of this process does now, by the names of `_server`."""
    for name, number in figures.items():
        _server[name].set(number)


def _model_label(turn: Turn) -> str:
    """A model gets its own label when it has completed an answer."""
    key = (turn.provider, turn.model)
    if key not in _models:
        if turn.status != "complete" or len(_models) >= MAX_MODELS:
            return OTHER
        _models.add(key)
    return turn.model


def collect() -> Iterable[Metric]:
    """Of all processes."""
    if not IS_SHARED:
        yield from REGISTRY.collect()
        yield from _of_processes([os.getpid()])
        return
    _own_place()
    running = list(_running_processes())
    yield from MultiProcessCollector(None, FOLDER).collect()
    yield from _of_processes(running)


def _running_processes() -> Iterator[int]:
    """Their numbers. The gauges of others are cleared; their counters stay."""
    for path in Path(FOLDER).glob("*.lock"):
        try:
            descriptor = process_locks.lock(path, wait=False)
        except BlockingIOError:
            with suppress(ValueError):  # it has just begun
                yield int(path.read_text())
            continue
        try:  # nobody takes the place meanwhile
            _clear(_gauges(int(path.stem)))
        finally:
            process_locks.unlock(descriptor)


def _of_processes(pids: Iterable[int]) -> Iterable[Metric]:
    """Processor time, memory, open files and start of each, with its number as label `pid`."""
    found: dict[str, Metric] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            known = found.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            known.samples += [
                Sample(one.name, {"pid": str(pid)}, one.value) for one in metric.samples
            ]
    return found.values()
