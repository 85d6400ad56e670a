"""Prints which functions and files of the project run in three requests.

    PYTHONPATH=CODE .venv/bin/python bench/trace_requests.py CODE [--list]

CODE is a checkout; `code_size.py` calls this for each. The database is that of the environment,
and has to be empty. Counted are the project's distinct functions that run in the second request of
each kind, so that nothing counts that is done once a process, and the files they are in:

- POST to row: one message is appended through the API;
- row to transcript: staff open a conversation of four messages with a tool call in the admin;
- question to answer: a turn with one tool call, from the request to the stored answer. The model
  is the scripted provider of the tests.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client

NOT_COUNTED = ("tests", "migrations")


def main() -> None:
    recorder = Recorder(Path(sys.argv[1]))
    threading.setprofile(recorder.profile)  # before a thread runs turns
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
    django.setup()
    from conversations.tests.chat.scripted_behaviours import Call, calls, says
    from conversations.tests.chat.scripted_provider import ScriptedProvider

    settings.ALLOWED_HOSTS = ["testserver"]
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    with ScriptedProvider() as provider:
        settings.CHAT_PROVIDERS = {
            "scripted": {"base_url": provider.url, "model": "scripted", "api_key": "k"}
        }
        settings.CHAT_PROVIDER = "scripted"
        settings.CHAT_TOOLS = ["conversations.tests.chat.sample_tools.add_task"]
        for _ in range(2):
            provider.script(calls(Call("add_task", {"title": "x"})), says("Done."))
        for name, request in requests().items():
            request()
            recorder.report(name, request, listed="--list" in sys.argv)


def requests() -> dict[str, Callable[[], None]]:
    from conversations.tests.factories import client_for, make_conversation, make_user

    owner = make_user("alice")
    api, admin = client_for(owner), Client()
    admin.force_login(make_user("root", is_staff=True, is_superuser=True))
    conversation = make_conversation(owner)
    messages = f"/api/conversations/{conversation.pk}/messages"
    call = {"id": "c1", "type": "function", "function": {"name": "add_task", "arguments": "{}"}}
    for message in (
        {"role": "user", "content": "Note *milk*."},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "add_task", "content": '{"id": 1}'},
        {"role": "assistant", "content": "It is **noted**."},
    ):
        ok(api.post(messages, message, format="json"), 201)
    transcript = f"/admin/conversations/conversation/{conversation.pk}/change/"
    return {
        "POST to row": lambda: ok(
            api.post(messages, {"role": "user", "content": "Hi"}, format="json"), 201
        ),
        "row to transcript": lambda: ok(admin.get(transcript, follow=True), 200),
        "question to answer": lambda: ok(
            api.post("/api/chat", {"message": "Note milk."}, format="json"), 200
        ),
    }


def ok(response: Any, status: int) -> None:
    if response.status_code != status:
        raise SystemExit(f"{response.status_code}: {response.content[:500]!r}")


class Recorder:
    """Collects the project's functions that are called, in all threads, while `report` runs."""

    def __init__(self, root: Path) -> None:
        self._packages = tuple(f"{root}/{package}/" for package in ("conversations", "chatproject"))
        self._root = root
        self._seen: set[CodeType] = set()
        self._recording = False

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._recording and event == "call":
            self._seen.add(frame.f_code)

    def report(self, name: str, request: Callable[[], None], *, listed: bool) -> None:
        self._seen, self._recording = set(), True
        sys.setprofile(self.profile)
        try:
            request()
        finally:
            sys.setprofile(None)
            self._recording = False
        functions = {code for code in self._seen if self._is_counted(code)}
        files = {Path(code.co_filename).relative_to(self._root) for code in functions}
        packages = Counter("/".join(path.parts[:2]) for path in files)
        print(f"  {name}: {len(functions)} functions in {len(files)} files")
        print(f"    {json.dumps(dict(packages.most_common()))}")
        if listed:
            print(*sorted(map(self._place, functions)), sep="\n")

    def _place(self, code: CodeType) -> str:
        path = Path(code.co_filename).relative_to(self._root)
        return f"      {path}:{code.co_firstlineno} {code.co_qualname}"

    def _is_counted(self, code: CodeType) -> bool:
        path = code.co_filename
        inside = path.startswith(self._packages) and not set(NOT_COUNTED) & set(Path(path).parts)
        # A comprehension or a lambda is read with the function around it.
        return inside and not code.co_name.startswith("<")


if __name__ == "__main__":
    main()
