"""One release of the application, loaded once: the process that the web processes are forked from.

So a web process starts in milliseconds. This one opens no database connection and no thread, none
of which survives a fork: what needs them begins in the web process (`Application.start`). It does
what the supervisor asks for over a socket, and nothing else.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

from conversations.server.worker import READY, run

# Asks for a web process; its end of a socket pair comes along.
FORK = b"f"

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("application", help="module:name")
    parser.add_argument("listener", type=int, help="the descriptor of the listening socket")
    parser.add_argument("supervisor", type=int, help="that of the connection to the supervisor")
    options = parser.parse_args()
    # Some send the signal to stop to each process of a service, but web processes need this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener, supervisor = (
        socket.socket(fileno=one) for one in (options.listener, options.supervisor)
    )
    application = _load(options.application)
    signal.signal(signal.SIGCHLD, _log_ended)
    supervisor.send(READY)
    while channel := _asked_for(supervisor):
        _fork(application, listener, channel, supervisor)
    with suppress(ChildProcessError):
        while True:  # the supervisor has ended: so do its web processes
            os.wait()


def _load(name: str) -> Any:
    module, attribute = name.split(":")
    application = getattr(importlib.import_module(module), attribute)
    application.preload()
    if others := [one.name for one in threading.enumerate() if one is not threading.main_thread()]:
        log.warning("Threads that loading has started are in no web process: %s", others)
    # What is loaded stays: the garbage collector need not look at it again and again, while all
    # threads stand still, nor write to pages that all web processes share.
    gc.collect()
    gc.freeze()
    return application


def _asked_for(supervisor: socket.socket) -> socket.socket | None:
    """The next web process's connection to the supervisor; None after the supervisor's end."""
    with suppress(ConnectionError):
        _, descriptors, _, _ = socket.recv_fds(supervisor, 1, 1)
        for one in descriptors:
            os.set_inheritable(one, False)
            return socket.socket(fileno=one)
    return None


def _fork(
    application: Any, listener: socket.socket, channel: socket.socket, supervisor: socket.socket
) -> None:
    """The supervisor finds the connection closed where this fails."""
    with channel:
        try:
            pid = os.fork()
        except OSError as error:
            log.error("No web process can be started: %s", error)
            return
        if not pid:
            supervisor.close()
            _serve(application, listener, channel)


def _serve(application: Any, listener: socket.socket, channel: socket.socket) -> NoReturn:
    """In the web process."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        channel.send(os.getpid().to_bytes(4))
        run(application, listener, channel)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _log_ended(*_: object) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if status := os.waitstatus_to_exitcode(ended[1]):
                log.error("Web process %d has ended with status %d", ended[0], status)
