"""The client: connections that are kept alive and each send again as soon as they are answered.

A process of its own, light enough to leave the processors to the services: one thread, plain
sockets, requests that are bytes already. It reads jobs from standard input and prints results,
a line of JSON each.
"""

from __future__ import annotations

import itertools
import json
import random
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

READ = 1 << 18
TIMEOUT = 60.0  # seconds without any answer


@dataclass
class Connection:
    """One client, and what has come of the answer that it waits for."""

    socket: socket.socket
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    missing: int | None = None  # None until the head is there

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.missing = None
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has come; whether the answer is whole."""
        chunk = self.socket.recv(READ)
        if not chunk:
            raise ConnectionError(f"The service hung up after {bytes(self.received[:300])!r}")
        self.received += chunk
        if self.missing is None:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.missing = end + 4 + self._length(bytes(self.received[:end]).lower())
        return len(self.received) >= self.missing

    def _length(self, head: bytes) -> int:
        if not head.startswith((b"http/1.1 200", b"http/1.1 201")):
            raise ConnectionError(f"Refused: {bytes(self.received[:500])!r}")
        return int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def run(port: int, requests: list[bytes], seconds: float, connections: int) -> dict[str, Any]:
    """Send for so many seconds; `answers`, `seconds` they took, `latencies` of each in seconds."""
    order = itertools.cycle(random.sample(requests, len(requests)))
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for _ in range(connections):
            connection = Connection(socket.create_connection(("127.0.0.1", port)))
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(next(order))
        while selector.get_map():
            for connection in _answered(selector):
                latencies.append(time.perf_counter() - connection.sent_at)
                if time.perf_counter() - started < seconds:
                    connection.send(next(order))
                else:
                    selector.unregister(connection.socket)
                    connection.socket.close()
        took = time.perf_counter() - started
    return {"answers": len(latencies), "seconds": took, "latencies": latencies}


def _answered(selector: selectors.BaseSelector) -> Iterator[Connection]:
    """The connections whose answer is whole by now."""
    ready = selector.select(TIMEOUT)
    if not ready:
        raise TimeoutError(f"No answer within {TIMEOUT:.0f} seconds")
    return (key.data for key, _ in ready if key.data.receive())


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        requests = [text.encode() for text in job.pop("requests")]
        print(json.dumps(run(requests=requests, **job)), flush=True)


if __name__ == "__main__":
    main()
