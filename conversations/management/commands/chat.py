"""`chat`: chat with a model in the terminal, with the same turns as over the API."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from conversations.chat.events import Event
from conversations.chat.question import Question
from conversations.chat.runtime.in_thread import iterate_in_thread, result_in_thread
from conversations.chat.runtime.watched_turn import WatchedTurn
from conversations.chat.turn import ask, regenerate, stop
from conversations.management.arguments import USAGE_ERROR, add_epilog
from conversations.models import AccessAction, AccessContext, Caller, Message, Role
from conversations.models.branch_path import Path
from conversations.selectors.branch_list import listed_branches, only_branch
from conversations.selectors.branches import on_path, shown_path
from conversations.services import (
    SCRIPT,
    InvalidValue,
    NotFound,
    ServiceError,
    find_or_create_user,
    get_chat_history,
    owner_of,
)
from conversations.services.bootstrap import find_admin
from conversations.services.branch_placement import MAX_BRANCHES, Parent
from conversations.services.branches import activate_branch
from conversations.services.errors import NO_SUCH_CONVERSATION
from conversations.services.titles import shortened

PROMPT = "> "
SHOWN_MESSAGES = 20
NO_USER = "There is no administrator: --user NAME is required."
WELCOME = "Ctrl-C stops an answer, Ctrl-D ends the chat, /help lists the commands."
HELP = """\
/edit TEXT      ask the last question again, with this text
/retry [MODEL]  give the last answer again, of another model where one is named
/branches [N]   list the branches of the conversation; with a number, go on with that one
/help           this list
"""
UNKNOWN_COMMAND = "There is no command {name}; /help lists them."
NO_TEXT = "Write the new question after /edit."
NOT_A_NUMBER = "Not the number of a branch: {text}"
NOTHING_YET = "Nothing has been asked yet."
CONTINUE = "To continue this conversation: --conversation {id}"
STOPPED = "[stopped; the partial answer is stored]"

EPILOG = """
On a terminal, Ctrl-C stops an answer, which is kept, and Ctrl-D ends the chat; /help lists the
commands. Otherwise each line of standard input is a question or such a command. Exit status: 0, or
2 where a question could not be asked. The reason of an answer that fails is written to standard
error and does not end the chat.

Examples:
  manage.py chat
  manage.py chat --provider ollama --model llama3.2 --user alice
  manage.py chat --conversation 01a219b0-0d67-73ea-8aae-35bbd4277fc4
  echo "Say hello" | manage.py chat --user bot
"""


class Command(BaseCommand):
    # Whether reasoning was written last, in another colour than the answer.
    _thinks = False
    help = "Chat with a model in the terminal. Without a terminal: one question per line."

    def add_arguments(self, parser: CommandParser) -> None:
        add_epilog(parser, EPILOG)
        parser.add_argument("--conversation", type=uuid.UUID, help="continue this conversation")
        parser.add_argument("--user", help="the owner; default: the administrator")
        parser.add_argument("--provider", help="default: CHAT_PROVIDER")
        parser.add_argument("--model", help="default: the model of the provider")

    def handle(self, *args: Any, **options: Any) -> None:
        self.model_options = {name: options[name] for name in ("provider", "model")}
        try:
            self.access = self._access(options["user"], options["conversation"])
            self.conversation_id: uuid.UUID | None = options["conversation"]
            if self.conversation_id is not None:
                self._show_history(self.conversation_id)
            self._run_prompt()
        except ServiceError as error:
            raise CommandError(error.detail, returncode=USAGE_ERROR) from error

    def _access(self, user: str | None, conversation_id: uuid.UUID | None) -> AccessContext:
        """The access context of the owner, with the same rights as over the API."""
        if conversation_id is not None and user is None:
            owner = owner_of(SCRIPT, conversation_id, action=AccessAction.CHANGE)
            return AccessContext(Caller(owner))
        name = user or find_admin()
        if name is None:
            raise CommandError(NO_USER, returncode=USAGE_ERROR)
        return AccessContext(Caller(find_or_create_user(name)))

    def _show_history(self, conversation_id: uuid.UUID) -> None:
        history = get_chat_history(
            conversation_id=conversation_id, limit=SHOWN_MESSAGES, access=self.access
        )
        for message in history:
            self._print_message(message)

    def _print_message(self, message: Message) -> None:
        if message.role == Role.USER:
            self._write(f"{PROMPT}{message.content}\n")
        elif message.role == Role.ASSISTANT and message.content:
            self._write(f"{message.content}\n\n")

    def _run_prompt(self) -> None:
        if sys.stdin.isatty():
            self._write(f"{WELCOME}\n")
        for line in self._lines():
            self._do(line)
        if self.conversation_id is not None and sys.stdin.isatty():
            self._write(f"\n{CONTINUE.format(id=self.conversation_id)}\n")

    def _lines(self) -> Iterator[str]:
        """Lines of input until its end or Ctrl-C at the prompt."""
        if not sys.stdin.isatty():
            yield from (line.strip() for line in sys.stdin if line.strip())
            return
        with suppress(ImportError):
            import readline  # noqa: F401 (enables line editing and history)
        with suppress(EOFError, KeyboardInterrupt):
            while True:
                if line := input(PROMPT).strip():
                    yield line

    def _do(self, line: str) -> None:
        """Run a command, or ask a question."""
        commands = {"/edit": self._edit, "/retry": self._retry, "/branches": self._branches}
        name, _, rest = line.partition(" ")
        if name == "/help":
            self._write(HELP)
        elif re.fullmatch("/[a-z]+", name) is None:
            self._ask(line)
        else:
            try:
                if name not in commands:
                    raise InvalidValue(UNKNOWN_COMMAND.format(name=name))
                commands[name](rest.strip())
            except ServiceError as error:
                # Who types sees what was wrong and goes on; a script ends.
                if not sys.stdin.isatty():
                    raise
                self.stderr.write(error.detail)

    def _edit(self, text: str) -> None:
        if not text:
            raise InvalidValue(NO_TEXT)
        place, before = self._last(Role.USER).sequence, self._shown()
        parent = before.filter(sequence__lt=place).values_list("id", flat=True).first()
        self._ask(text, parent or "root")

    def _retry(self, model: str) -> None:
        question = Question(text="", regenerate=self._last(Role.ASSISTANT).id)
        options = self.model_options | ({"model": model} if model else {})
        self._follow(
            regenerate(
                access=self.access,
                question=question,
                conversation_id=self.conversation_id,
                **options,
            )
        )

    def _branches(self, number: str) -> None:
        if not number:
            self._list_branches()
        elif not number.isascii() or not number.isdigit() or int(number) > MAX_BRANCHES:
            raise InvalidValue(NOT_A_NUMBER.format(text=number))
        else:
            _, key, *_ = self._active_branch()
            activate_branch(conversation_id=key, number=int(number), access=self.access)
            self._show_history(key)

    def _ask(self, text: str, parent: Parent = None) -> None:
        self._follow(
            ask(
                access=self.access,
                question=Question(text=text, parent=parent),
                conversation_id=self.conversation_id,
                **self.model_options,
            )
        )

    def _list_branches(self) -> None:
        owner_id, key, active, _ = self._active_branch()
        columns = ("number", "length", "beginning")
        branches = listed_branches(owner_id, key).order_by("number").values(*columns)
        for branch in branches or [only_branch(owner_id, key)]:
            if branch is not None:
                mark = "*" if branch["number"] == active else " "
                words = shortened(branch["beginning"] or "")
                self._write(f"{mark} {branch['number']}: {branch['length']} messages: {words}\n")

    def _active_branch(self) -> tuple[int, uuid.UUID, int, Path]:
        """Owner and conversation, the number and the path of the active branch."""
        if self.conversation_id is None:
            raise InvalidValue(NOTHING_YET)
        owner_id = owner_of(self.access, self.conversation_id, action=AccessAction.READ).pk
        shown = shown_path(owner_id, self.conversation_id)
        if shown is None:
            raise NotFound(NO_SUCH_CONVERSATION)
        return owner_id, self.conversation_id, *shown

    def _shown(self) -> QuerySet[Message]:
        """The messages of the active branch, the newest first."""
        owner_id, key, _, path = self._active_branch()
        return on_path(Message.objects.of(owner_id, key), path).order_by("-sequence")

    def _last(self, role: Role) -> Message:
        message = self._shown().filter(role=role).first()
        if message is None:
            raise InvalidValue(NOTHING_YET)
        return message

    def _follow(self, watched: WatchedTurn) -> None:
        self.conversation_id = watched.turn.conversation_id
        try:
            for event in iterate_in_thread(watched.events()):
                if event is not None:
                    self._show_event(event)
        except KeyboardInterrupt:
            stop(access=self.access, message_id=watched.turn.id)
            result_in_thread(watched.result())
            self._write(f"\n{STOPPED}\n")

    def _show_event(self, event: Event) -> None:
        match event.name:
            case "reasoning" if sys.stdout.isatty():
                self._write(self.style.HTTP_NOT_MODIFIED(event.data["text"]))
                self._thinks = True
            case "delta":
                self._write("\n\n" * self._thinks + event.data["text"])
                self._thinks = False
            case "tool_call":
                call = f"[{event.data['tool']} {event.data['arguments']}]\n"
                self._write(self.style.WARNING(call))
            case "done":
                self._write("\n\n")
            case "error":
                self._write("\n")
                self.stderr.write(event.data["errors"][0]["detail"])

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()
