"""What the process loads that web processes are forked from."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

# As `fork_server.main` does, and then a turn's first step in a forked process.
LOAD = """
import os, sys, threading, time
from conversations.server.fork_server import _load

application = _load("chatproject.asgi:application")
names = [thread.name for thread in threading.enumerate()]
fds = [f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd")]
sockets = [one for one in fds if os.path.exists(one) and "socket" in os.readlink(one)]
print(names, sockets, "agents" in sys.modules, flush=True)
if not os.fork():
    from conversations.chat.llm.agent_loop import library
    started = time.process_time()
    library()
    print(time.process_time() - started < 0.05, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(("provider", "loads"), [("ollama", True), ("", False)])
def test_the_agent_library_is_loaded_before_the_fork_without_threads_or_connections(
    provider, loads
):
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=os.environ | {"CHAT_PROVIDER": provider},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded, *forked = done.stdout.splitlines()
    assert loaded == f"['MainThread'] [] {loads}"
    assert forked == [str(loads)]
