"""The chats of one person in Open WebUI, and what of them is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection

from bench.clients.open_webui_frontend import Frontend, Turn
from bench.clients.open_webui_process import JWT_SECRET, running
from bench.clients.photographs import photograph
from bench.clients.record import Record, paths_of_tree
from conversations.services import SCRIPT, create_token, find_or_create_user
from conversations.tests.chat.scripted_behaviours import Call, breaks, calls, says, says_json
from conversations.tests.chat.scripted_provider import ScriptedProvider
from conversations.tests.chat.servers import serving

DOCUMENT: dict[str, Any] = {
    "type": "text",
    "name": "note",
    "context": "full",
    "file": {"data": {"content": "The harbour opens at six."}, "meta": {"name": "harbour.txt"}},
}
IMAGE = {
    "type": "image",
    "name": "picture",
    "url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
}
TASK_ANSWERS = {
    "concise title": {"title": "Tides, by the book"},
    "tags": {"tags": ["sea"]},
    "messages this user might": {"follow_ups": ["And neap tides?"]},
}


def run(python: Path, identity: str, screenshots: Path | None) -> int:
    """How many checks failed."""
    call_command("migrate", verbosity=0)
    backend = find_or_create_user("open-webui")
    token = create_token(user=backend, access=SCRIPT, trusted=True)[1]
    connection.close()
    with ScriptedProvider() as provider:
        script(provider)
        with (
            serving(provider, **environment_of(provider, identity)) as server,
            running(python, f"{server.url}/v1", token, identity) as url,
        ):
            person = Frontend(url, "Carol")
            checks = Checks(person, Record(server.url, token), provider)
            checks.run()
            if screenshots:
                photograph(server.url, checks.record.conversations(), screenshots)
    connection.close()
    print(f"{checks.failed} of {checks.count} checks failed" if checks.failed else "all right")
    return checks.failed


def environment_of(provider: ScriptedProvider, identity: str) -> dict[str, str]:
    """Two providers with one model each, so that two can be asked at once."""
    patient = {"base_url": provider.url, "timeout": 30, "connect": 30}
    providers = {name: patient | {"model": "scripted"} for name in ("scripted", "other")}
    signed = {"OPENWEBUI_JWT_SECRET": JWT_SECRET} if identity == "jwt" else {}
    return {"CHAT_PROVIDERS": json.dumps(providers), **signed}


def script(provider: ScriptedProvider) -> None:
    """Tasks get their JSON; a question gets an answer that tells how many came before it."""

    async def answer(exchange: Any) -> None:
        count = len(provider.chats)
        await says(f"Answer {count}", " to: ", last_text(exchange.request))(exchange)

    provider.always(answer)
    for words, value in TASK_ANSWERS.items():
        provider.when(lambda request, words=words: asks(request, words), says_json(value))


def asks(request: Any, words: str) -> bool:
    text = last_text(request)
    return text.startswith("### Task:") and words in text.split("###")[1]


def last_text(request: Any) -> str:
    content = request.body["messages"][-1].get("content") or ""
    return content if isinstance(content, str) else content[0]["text"]


class Checks:
    """One chat after the other; each compares what Open WebUI shows with what is recorded."""

    def __init__(self, person: Frontend, record: Record, provider: ScriptedProvider) -> None:
        self.person, self.record, self.provider = person, record, provider
        self.count = self.failed = 0

    def run(self) -> None:
        listed = self.person.models()
        self.models = [name for name in listed if name.endswith("/scripted")]
        self.check("Open WebUI lists the models", len(self.models) == 2, listed)
        chats = [self.branches, self.stopped, self.tools, self.failing, self.side_by_side]
        for chat in (*chats, self.attached, self.answer_edited):
            print(f"\n{chat.__name__}: {(chat.__doc__ or '').splitlines()[0]}")
            try:
                chat()
            except Exception as error:
                self.check(f"{chat.__name__} runs to its end", False, repr(error))
        self.owner()

    def check(self, claim: str, holds: bool, seen: Any = "") -> None:
        self.count += 1
        self.failed += not holds
        print(f"  {'ok ' if holds else 'BAD'} {claim}" + (f": {seen}" if seen != "" else ""))

    def branches(self) -> None:
        """Two turns, the second answer regenerated, the second question edited."""
        model = self.models[:1]
        first = self.person.wait(self.person.begin("What are tides?", model))
        second = self.person.wait(self.person.follow(first, "And spring tides?", model))
        self.person.wait(self.person.regenerate(second, model))
        self.person.wait(self.person.edit(second, "And the tides of lakes?", model))
        stored = self.same(first)
        self.check("three branches", stored["branch_count"] == 3, stored["branch_count"])
        self.check("seven messages", stored["message_count"] == 7, stored["message_count"])
        asked = [last_text(one) for one in self.provider.chats]
        tasks = sum(text.startswith("### Task:") for text in asked)
        self.check("the tasks reached the model", tasks >= 5, f"{tasks} of {len(asked)} requests")
        title = self.person.chat(first)["title"]
        self.check("and their answers Open WebUI", title == "Tides, by the book", title)

    def stopped(self) -> None:
        """An answer that is stopped half way, and a question after it."""
        model = self.models[:1]
        self.provider.script(says("One. ", "Two. ", *[" More."] * 100, pause=0.2))
        turn = self.person.begin("Count slowly.", model)
        self.provider.wait_for(lambda: self.provider.running)
        self.record.wait_for("Count slowly.", lambda last: len(last["content"]) > 10)
        self.person.stop(turn)
        self.person.wait(turn)
        last = self.record.wait_for("Count slowly.", lambda last: last["status"] != "streaming")
        self.check("it is stopped", last["status"] == "stopped", last["status"])
        self.check("with what came", last["content"].startswith("One. Two."), last["content"])
        self.person.wait(self.person.follow(turn, "Go on.", model))
        self.line(turn, ["user", "assistant", "user", "assistant"])

    def tools(self) -> None:
        """An answer that calls a tool of Open WebUI, and a question after it."""
        model = self.models[:1]
        call = calls(Call("get_current_timestamp", {}, id="call_1"), text="I look.")
        self.provider.script(call, says("It is noon."))
        turn = self.person.wait(self.person.begin("How late is it?", model))
        self.person.wait(self.person.follow(turn, "Thank you.", model))
        roles = ["user", "assistant", "tool", "assistant", "user", "assistant"]
        self.line(turn, roles)

    def failing(self) -> None:
        """A provider that fails; the answer is asked for again."""
        model = self.models[:1]
        self.provider.script(breaks(500))
        turn = self.person.begin("Is anybody there?", model)
        try:
            self.person.wait(turn)
            self.check("Open WebUI shows the error", False)
        except AssertionError as error:
            self.check("Open WebUI shows the error", True, error)
        self.person.wait(self.person.regenerate(turn, model))
        self.line(turn, ["user", "assistant"])

    def side_by_side(self) -> None:
        """One question to two models at once."""
        self.provider.script(says("The first.", pause=0.3), says("The other.", pause=0.3))
        turn = self.person.wait(self.person.begin("Which of you?", self.models))
        messages = self.person.chat(turn)["chat"]["history"]["messages"].values()
        errors = [one["error"] for one in messages if one.get("error")]
        self.check("both answer", not errors, errors or "")
        self.same(turn)

    def attached(self) -> None:
        """A document and an image with the first question only, which the second turn repeats."""
        model = self.models[:1]
        for file in (DOCUMENT, IMAGE):
            text = f"What does the {file['name']} say?"
            turn = self.person.wait(self.person.begin(text, model, file))
            self.person.wait(self.person.follow(turn, "Are you sure?", model))
            self.line(turn, ["user", "assistant", "user", "assistant"])

    def answer_edited(self) -> None:
        """An answer that the person changes, and a question after it."""
        model = self.models[:1]
        turn = self.person.wait(self.person.begin("Name a sea.", model))
        self.person.edit_answer(turn, "The Baltic Sea.")
        self.person.wait(self.person.follow(turn, "How deep is it?", model))
        stored = self.line(turn, ["user", "assistant", "user", "assistant"])
        self.check("both answers are there", stored["branch_count"] == 2, stored["branch_count"])

    def owner(self) -> None:
        chats = self.record.conversations()
        owners = {one["user_id"] for one in chats}
        print("\nowner")
        self.check("eight conversations", len(chats) == 8, [one["title"] for one in chats])
        self.check("all of one owner", len(owners) == 1, owners)
        self.check("who is named as in Open WebUI", self.person.id in str(owners), self.person.id)

    def same(self, turn: Turn) -> dict[str, Any]:
        """The paths through Open WebUI's tree are those of one recorded conversation."""
        shown = paths_of_tree(self.person.chat(turn)["chat"]["history"]["messages"].values())
        found = self.record.all_beginning_with(self.first_words(turn))
        self.check("one conversation", len(found) == 1, len(found))
        recorded = self.record.paths(found[0]["id"])
        apart = differences(shown, recorded)
        self.check("the same paths", not apart, apart or f"{len(shown)}")
        return found[0]

    def line(self, turn: Turn, roles: list[str]) -> dict[str, Any]:
        """One recorded conversation, whose active branch has these roles."""
        found = self.record.all_beginning_with(self.first_words(turn))
        self.check("one conversation", len(found) == 1, len(found))
        messages = self.record.messages(found[0]["id"])
        seen = [one["role"] for one in messages]
        self.check("the messages in order", seen == roles, seen)
        return found[0]

    def first_words(self, turn: Turn) -> str:
        messages = self.person.chat(turn)["chat"]["history"]["messages"].values()
        return next(str(one["content"]) for one in messages if one["parentId"] is None)


def differences(shown: set[Any], recorded: set[Any]) -> str:
    """What is in one of them alone, as text; empty where they are equal."""
    apart = [("shown", shown - recorded), ("recorded", recorded - shown)]
    return "; ".join(f"only {name}: {sorted(paths)}" for name, paths in apart if paths)
