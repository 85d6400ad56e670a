import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from conversations.models import Conversation, Message
from conversations.tests.chat.fixtures import provider, scripted, wait_until
from conversations.tests.chat.scripted_behaviours import Call, breaks, calls, says, thinks
from conversations.tests.factories import make_user
from conversations.tests.processes import environment_of

__all__ = ["provider", "scripted"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def talk(scripted, monkeypatch, capsys):
    """Run the command with these lines as standard input; returns its output."""

    def run(*lines, **options):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
        call_command("chat", **{"user": "alice"} | options)
        return capsys.readouterr()

    return run


def test_each_line_is_a_question(talk, scripted):
    scripted.script(says("Hel", "lo."), says("Two."))
    assert talk("Hi", "", "And?").out == "Hello.\n\nTwo.\n\n"
    assert Conversation.objects.get().user.username == "alice"
    assert [m.content for m in Message.objects.order_by("sequence")] == [
        "Hi",
        "Hello.",
        "And?",
        "Two.",
    ]


def test_it_goes_on_with_a_conversation(talk, scripted):
    scripted.script(says("One."), says("Two."))
    talk("First")
    chat = Conversation.objects.get()
    out = talk("Second", conversation=chat.pk, user=None).out
    assert out == "> First\nOne.\n\nTwo.\n\n"
    assert Message.objects.count() == 4


def test_tools_and_failures_are_shown(talk, scripted):
    scripted.script(calls(Call("nope", {})), says("No."), breaks())
    shown = talk("One", "Two")
    assert shown.out.startswith("[nope {}]\nNo.\n")
    assert "answered with an error" in shown.err


def test_what_cannot_be_asked_is_told(talk, scripted):
    make_user("bob")
    talk("Mine")
    mine = Conversation.objects.get().pk
    with pytest.raises(CommandError, match="No such conversation"):
        talk("Hi", conversation=mine, user="bob")
    with pytest.raises(CommandError, match="no provider gpt"):
        talk("Hi", provider="gpt")


def test_without_a_user_or_an_administrator(talk, scripted):
    with pytest.raises(CommandError, match="--user"):
        talk("Hi", user=None)


def test_reasoning_is_left_out_where_no_terminal_is(talk, scripted):
    scripted.script(says(*thinks("Six by seven."), "42."))
    assert talk("What is it?").out == "42.\n\n"


def test_the_last_question_is_asked_again_with_another_text(talk, scripted):
    scripted.script(says("1a"), says("2a"), says("2b"), says("2c"), says("3"))
    out = talk("One?", "Two?", "/edit Deux?", "/edit  Zwei?", "And?").out
    assert out == "1a\n\n2a\n\n2b\n\n2c\n\n3\n\n"
    shown = [[content for _, content in one.messages[1:]] for one in scripted.chats[2:]]
    assert shown == [
        ["One?", "1a", "Deux?"],
        ["One?", "1a", "Zwei?"],
        ["One?", "1a", "Zwei?", "2c", "And?"],
    ]


def test_the_first_question_is_asked_again_at_the_root(talk, scripted):
    talk("One?", "/edit Uno?")
    assert scripted.chats[1].messages[1:] == [("user", "Uno?")]


def test_the_last_answer_is_given_again_of_another_model_too(talk, scripted):
    scripted.script(says("1a"), says("1b"), calls(Call("nope", {})), says("1c"), says("2"))
    out = talk("One?", "/retry", "/retry big", "Two?", model="small").out
    assert out == "1a\n\n1b\n\n[nope {}]\n1c\n\n2\n\n"
    asked = [one.body["model"] for one in scripted.chats]
    assert asked == ["small", "small", "big", "big", "small"]
    assert [one.messages[1:] for one in scripted.chats[:3]] == [[("user", "One?")]] * 3
    stored = Message.objects.filter(role="user").order_by("sequence")
    assert [m.content for m in stored] == ["One?", "Two?"]


def test_branches_are_listed_and_switched(talk, scripted):
    scripted.script(says("1a"), says("1b"), says("2b"), says("2a"))
    out = talk("One?", "/branches", "/retry", "Two?", "/branches").out
    assert out.startswith("1a\n\n* 0: 2 messages: One?\n1b\n\n2b\n\n")
    assert out.endswith("  0: 2 messages: One?\n* 1: 4 messages: 1b\n")
    chat = Conversation.objects.get().pk
    out = talk("/branches 0", "Second?", "/branches", conversation=chat).out
    assert out == (
        "> One?\n1b\n\n> Two?\n2b\n\n"
        "> One?\n1a\n\n"
        "2a\n\n"
        "* 0: 4 messages: One?\n  1: 4 messages: 1b\n"
    )
    assert scripted.chats[-1].messages[1:] == [
        ("user", "One?"),
        ("assistant", "1a"),
        ("user", "Second?"),
    ]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["/edit Hi"], "Nothing has been asked yet"),
        (["/retry"], "Nothing has been asked yet"),
        (["/branches"], "Nothing has been asked yet"),
        (["Hi", "/edit"], "Write the new question"),
        (["Hi", "/branches x"], "Not the number of a branch: x"),
        (["Hi", "/branches 99999999999"], "Not the number of a branch"),
        (["Hi", "/branches 7"], "no such branch|No such branch"),
        (["/retyr"], "no command /retyr"),
    ],
)
def test_a_command_that_cannot_be_done_ends_a_script(talk, scripted, lines, error):
    with pytest.raises(CommandError, match=error):
        talk(*lines, "Never asked")
    assert len(scripted.chats) == len(lines) - 1


def test_the_commands_are_listed_and_a_path_is_a_question(talk, scripted):
    out = talk("/help", "/etc/hosts is what?", "/ hm").out
    for name in ("/edit", "/retry", "/branches", "/help"):
        assert name in out
    asked = Message.objects.filter(role="user").order_by("sequence")
    assert [m.content for m in asked] == ["/etc/hosts is what?", "/ hm"]


def test_ctrl_c_stops_the_answer_and_keeps_it(scripted):
    make_user("alice")
    scripted.script(says("a", "b", threading.Event()), says(*thinks("Hm."), "Again."))
    scripted.script(says("Once more."))
    ours, theirs = pty.openpty()
    code = (
        "import signal\n"
        "from django.conf import settings\n"
        # Ignored where a shell runs the tests in the background.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"settings.DATABASES['default']['NAME'] = {connection.settings_dict['NAME']!r}\n"
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'chat', '--user', 'alice'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | environment_of(scripted) | {"TERM": "dumb"},
        cwd=django_settings.BASE_DIR,
        start_new_session=True,
    )
    os.close(theirs)
    screen = Screen(ours)
    try:
        screen.wait_for("> ")
        os.write(ours, b"Hi\n")
        screen.wait_for("ab")
        process.send_signal(signal.SIGINT)
        screen.wait_for("[stopped; the partial answer is stored]")
        stopped = Message.objects.get(role="assistant")
        assert (stopped.content, stopped.status) == ("ab", "stopped")
        os.write(ours, b"Go on\n")
        screen.wait_for("\r\n\r\nAgain.")
        assert "Hm." in screen.text
        wait_until(lambda: screen.text.endswith("> "))
        # A command that fails ends no chat on a terminal.
        os.write(ours, b"/branches 7\n")
        screen.wait_for("such branch")
        os.write(ours, b"/retry\n")
        screen.wait_for("Once more.")
        os.write(ours, b"/branches\n")
        screen.wait_for("* 1: 4 messages: Once more.")
        wait_until(lambda: screen.text.endswith("> "))
        os.write(ours, b"\x04")
        screen.wait_for(f"--conversation {stopped.conversation_id}")
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


class Screen:
    """The output of a program on its terminal."""

    def __init__(self, descriptor):
        self.text = ""
        self._descriptor = descriptor
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text):
        deadline = time.monotonic() + 60
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def _read(self):
        while True:
            try:
                self.text += os.read(self._descriptor, 4096).decode()
            except OSError:
                return
