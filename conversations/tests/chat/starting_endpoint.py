"""An endpoint that starts when a file says so: `start` is that of a provider.

The file has the base URL, or another text, with which it fails.
"""

import os
import time
from pathlib import Path

PATH = "conversations.tests.chat.starting_endpoint.start"
FILE = "STARTING_ENDPOINT"  # in the environment of the server


def start():
    return _wait


def _wait():
    path = Path(os.environ[FILE])
    while not path.exists():
        time.sleep(0.01)
    said = path.read_text()
    if not said.startswith("http"):
        raise RuntimeError(said)
    return said, "key"
