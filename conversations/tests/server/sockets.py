"""Clients that send what no library would: half a request, or nothing at all."""

import socket
from contextlib import ExitStack, contextmanager
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlsplit

SECONDS = 60  # of silence: the machine may be busy


def connect(url):
    host, port = urlsplit(url).netloc.split(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


@contextmanager
def open_sockets(url, count, first_bytes=b""):
    """So many connections that have sent this and wait."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(url)) for _ in range(count)]
        for one in sockets:
            one.sendall(first_bytes)
        yield sockets


def head(method, path, token=None, **headers):
    """The head of a request."""
    named = {"Host": "127.0.0.1"} | {name.replace("_", "-"): text for name, text in headers.items()}
    if token:
        named["Authorization"] = f"Bearer {token}"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in named.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def read_all(one):
    """Everything until the server closes the connection."""
    found = b""
    while chunk := one.recv(65_536):
        found += chunk
    return found


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def read_until(sockets, wanted):
    """Read from all of them until each has sent this; what each has sent."""
    found = dict.fromkeys(sockets, b"")
    missing = set(sockets)
    with DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, EVENT_READ)
        while missing:
            ready = selector.select(60)
            assert ready, f"{len(missing)} streams are silent"
            for key, _ in ready:
                chunk = key.fileobj.recv(65_536)
                found[key.fileobj] += chunk
                assert chunk or wanted in found[key.fileobj], found[key.fileobj][-500:]
                if wanted in found[key.fileobj]:
                    missing.discard(key.fileobj)
    return found
