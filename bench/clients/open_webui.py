"""Open WebUI, started from its package, with this server as its only provider of models.

    .venv/bin/python -m bench.clients.open_webui [--identity headers|jwt|templates]
        [--venv FOLDER] [--screenshots FOLDER]

A person signs up and chats as the frontend does: two turns, a regenerated answer, an edited
question; then an answer that is stopped, one that calls a tool, one that fails and is asked for
again, and two models asked at once. What was recorded is then read over `/api` and compared with
what Open WebUI shows. The models are a script behind a real socket. Exits with 1 if anything
differs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identity", choices=["headers", "jwt", "templates"], default="headers")
    parser.add_argument("--venv", type=Path, help="of an earlier run")
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures of the admin")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    from bench.clients import open_webui_process
    from bench.clients.open_webui_run import run

    python = open_webui_process.install(options.venv or open_webui_process.VENV)
    sys.exit(run(python, options.identity, options.screenshots))


if __name__ == "__main__":
    main()
