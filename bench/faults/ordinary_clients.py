"""Four clients that append, read and list for some seconds, and one that asks for liveness.

A process of its own, so that they do not wait for what else a benchmark does: it reads one job from
standard input, {"port", "token", "conversations", "seconds"}, and prints the seconds that each
request and each /healthz took, and how many of both failed.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}


@dataclass
class Figures:
    """Seconds of each ordinary request and of each /healthz, and the failures among both."""

    ordinary: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    failed: int = 0


def measured(port: int, token: str, conversations: list[str], seconds: float) -> Figures:
    """What the clients find, one for each of these conversations."""
    job = {"port": port, "token": token, "conversations": conversations, "seconds": seconds}
    command = [sys.executable, __file__]
    done = subprocess.run(
        command, input=json.dumps(job), text=True, check=True, stdout=subprocess.PIPE
    )
    return Figures(**json.loads(done.stdout))


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def call(connection: http.client.HTTPConnection, token: str, *request: Any) -> int:
    """The status of a request: method, path, and the body if it has one."""
    method, path, *body = request
    text = json.dumps(body[0]) if body else None
    connection.request(method, path, text, JSON | {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def ask(port: int, token: str, conversations: list[str], seconds: float) -> Figures:
    figures, end = Figures(), time.monotonic() + seconds

    def append_read_and_list(conversation: str) -> None:
        connection = connect(port)
        messages = f"/api/conversations/{conversation}/messages"
        requests = [
            ("POST", messages, {"role": "user", "content": "An ordinary message."}),
            ("GET", f"{messages}?page_size=20&order=desc"),
            ("GET", "/api/conversations"),
        ]
        while time.monotonic() < end:
            for request in requests:
                began = time.perf_counter()
                figures.failed += call(connection, token, *request) not in (200, 201)
                figures.ordinary.append(time.perf_counter() - began)

    def ask_for_health() -> None:
        while time.monotonic() < end:
            connection = connect(port)
            began = time.perf_counter()
            figures.failed += call(connection, token, "GET", "/healthz") != 200
            figures.health.append(time.perf_counter() - began)
            connection.close()
            time.sleep(0.05)

    with ThreadPoolExecutor(len(conversations) + 1) as pool:
        asking = [pool.submit(append_read_and_list, one) for one in conversations]
        asking.append(pool.submit(ask_for_health))
        for each in asking:
            each.result()
    return figures


if __name__ == "__main__":
    print(json.dumps(asdict(ask(**json.load(sys.stdin)))))
