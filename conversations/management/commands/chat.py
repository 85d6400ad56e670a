"""`chat`: chat with a model in the terminal, with the same turns as over the API."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.chat.events import Event
from conversations.chat.question import Question
from conversations.chat.runtime.in_thread import iterate_in_thread, result_in_thread
from conversations.chat.turn import ask, stop
from conversations.models import AccessAction, AccessContext, Caller, Message, Role
from conversations.services import (
    SCRIPT,
    ServiceError,
    find_or_create_user,
    get_chat_history,
    owner_of,
)
from conversations.services.bootstrap import find_admin

PROMPT = "> "
SHOWN_MESSAGES = 20
NO_USER = "There is no administrator: --user NAME is required."
WELCOME = "Ctrl-C stops an answer, Ctrl-D ends the chat."
CONTINUE = "To continue this conversation: --conversation {id}"
STOPPED = "[stopped; the partial answer is stored]"


class Command(BaseCommand):
    # Whether reasoning was written last, in another colour than the answer.
    _thinks = False
    help = "Chat with a model in the terminal. Without a terminal: one question per line."

    def add_arguments(self, parser: CommandParser) -> None:
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
            raise CommandError(error.detail) from error

    def _access(self, user: str | None, conversation_id: uuid.UUID | None) -> AccessContext:
        """The access context of the owner, with the same rights as over the API."""
        if conversation_id is not None and user is None:
            owner = owner_of(SCRIPT, conversation_id, action=AccessAction.CHANGE)
            return AccessContext(Caller(owner))
        name = user or find_admin()
        if name is None:
            raise CommandError(NO_USER)
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
        for question in self._questions():
            self._ask(question)
        if self.conversation_id is not None and sys.stdin.isatty():
            self._write(f"\n{CONTINUE.format(id=self.conversation_id)}\n")

    def _questions(self) -> Iterator[str]:
        """Lines of input until its end or Ctrl-C at the prompt."""
        if not sys.stdin.isatty():
            yield from (line.strip() for line in sys.stdin if line.strip())
            return
        with suppress(ImportError):
            import readline  # noqa: F401 (enables line editing and history)
        with suppress(EOFError, KeyboardInterrupt):
            while True:
                if question := input(PROMPT).strip():
                    yield question

    def _ask(self, question: str) -> None:
        watched = ask(
            access=self.access,
            question=Question(text=question),
            conversation_id=self.conversation_id,
            **self.model_options,
        )
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
