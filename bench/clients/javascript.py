"""Clients in JavaScript against `/v1`: OpenAI's SDK, the Agents SDK and the AI SDK.

    .venv/bin/python -m bench.clients.javascript [--unnamed] [--modules FOLDER]

Each has three turns with a tool, streamed and not, in a conversation that it names, or with
`--unnamed` in one that is found by its history; then what was recorded is read over `/api`. The
model is a script behind a real socket. Needs Node 20 and npm. Exits with 1 if a client fails or
its record differs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.clients.record import Record

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(__file__).resolve().parent / "javascript"
MODULES = ROOT / ".venv" / "javascript"
TURN = ["user", "assistant"]
THREE_TURNS = ["user", "assistant", "tool", "assistant", *TURN, *TURN]
EXPECTED = {"openai chat": [*TURN, *TURN], "openai conversations": ["user", *TURN]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", type=Path, default=MODULES, help="where they are installed")
    parser.add_argument("--unnamed", action="store_true", help="do not name the conversations")
    options = parser.parse_args()
    # The tests' own choice of a database, which it also removes at the end.
    importlib.import_module("conftest")
    install(options.modules)
    sys.exit(run(options.modules, options.unnamed))


def install(folder: Path) -> None:
    """The packages, in a folder of their own, with a copy of the script beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE / "clients.mjs", folder)
    wanted, there = SOURCE / "package.json", folder / "package.json"
    if there.exists() and there.read_text() == wanted.read_text():
        return
    shutil.copy(wanted, folder)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=folder, check=True)


def run(folder: Path, unnamed: bool) -> int:
    """How many clients fail, or are recorded wrongly."""
    from django.core.management import call_command
    from django.db import connection

    from conversations.services import SCRIPT, create_token, find_or_create_user
    from conversations.tests.chat.scripted_provider import ScriptedProvider
    from conversations.tests.chat.servers import serving

    call_command("migrate", verbosity=0)
    backend = find_or_create_user("backend")
    token = create_token(user=backend, access=SCRIPT, trusted=True)[1]
    connection.close()
    with ScriptedProvider() as provider, serving(provider) as server:
        provider.always(answer)
        failed = 0
        for seen in clients(folder, f"{server.url}/v1", token, unnamed):
            failed += report(seen, Record(server.url, token))
    connection.close()
    return failed


async def answer(exchange: Any) -> None:
    """Calls the tool for the question about the time; otherwise says what was asked."""
    from conversations.tests.chat.scripted_behaviours import Call, calls, says

    last = exchange.request.body["messages"][-1]
    text = str(last["content"] if isinstance(last["content"], str) else last["content"][0]["text"])
    asked = last["role"] == "user" and "How late" in text and exchange.request.tools
    behave = calls(Call("clock", {"city": "Rome"})) if asked else says("You said: ", text)
    await behave(exchange)


def clients(folder: Path, url: str, token: str, unnamed: bool) -> Iterator[dict[str, Any]]:
    """What each client saw, one after the other."""
    command = ["node", "clients.mjs", url, token, "scripted/scripted", *["unnamed"] * unnamed]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            yield json.loads(line)


def report(seen: dict[str, Any], record: Record) -> bool:
    """Print what was recorded of this client; whether that, or the client, is wrong."""
    name = seen["name"]
    chats = [record.messages(one["id"]) for one in record.conversations(name.replace(" ", "-"))]
    roles = [[one["role"] for one in messages] for messages in chats]
    wrong = bool(seen.get("error")) or roles != [EXPECTED.get(name, THREE_TURNS)]
    print("BAD" if wrong else "ok ", name, seen.get("error") or seen["texts"], *roles)
    return wrong


if __name__ == "__main__":
    main()
