"""Hooks that run when this process is told to end, before the web server waits for its requests.

A web server that is told to stop first waits for its open requests, streams among them, so turns
must be ended before. The signal itself is listened to, beside the server's own handler. Imports
nothing of Django, as web workers load it before Django is set up.
"""

from __future__ import annotations

import multiprocessing.util
import signal
import socket
import threading
from collections.abc import Callable

_hooks: list[Callable[[], None]] = []


def before_end(hook: Callable[[], None]) -> None:
    """Call `hook` once this process is told to end, or does; it may be called twice."""
    _hooks.append(hook)
    # Web workers are multiprocessing children, which skip atexit and run these.
    multiprocessing.util.Finalize(None, hook, exitpriority=100)


def listen_for_end() -> None:
    """Call the hooks at SIGTERM, whatever its handler does. For the main thread."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(reader, writer), daemon=True).start()


def _listen(reader: socket.socket, writer: socket.socket) -> None:
    # Both ends stay open until the process ends: a second signal would find a closed one.
    ended = False
    while signals := reader.recv(64):
        if signal.SIGTERM in signals and not ended:
            ended = True
            for hook in _hooks:
                hook()
