"""The end of this process, told in time: turns must be ended before the web server waits for them.

A web server that is told to stop first waits for its open requests, streams among them. So the
signal itself is listened to, beside the server's own handler. Imports nothing, as web workers
load it before Django is set up.
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
    told, telling = socket.socketpair()
    telling.setblocking(False)
    signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(told, telling), daemon=True).start()


def _listen(told: socket.socket, telling: socket.socket) -> None:
    # Both ends stay open to the last: a second signal would find a closed one.
    ended = False
    while signals := told.recv(64):
        if signal.SIGTERM in signals and not ended:
            ended = True
            for hook in _hooks:
                hook()
