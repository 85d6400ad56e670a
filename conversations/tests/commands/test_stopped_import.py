"""Imports that are killed, stopped, or run beside one another, as processes of their own."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection

from conversations.models import Conversation, Message
from conversations.models.installation import _secret

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_node("conversations are stored one by one on a cluster"),
]

CONVERSATIONS, MESSAGES, BATCH = 400, 6, 60  # messages in a conversation, in a batch
ALL = CONVERSATIONS * MESSAGES


@pytest.fixture(autouse=True)
def _secret_of_the_database():
    """The tests before have emptied the tables: this process derives ids as the others do."""
    _secret.cache_clear()


@pytest.fixture
def file(tmp_path):
    """Lines, trees among them, of three owners, with an id or without."""
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(line_of(number)) + "\n" for number in range(CONVERSATIONS)))
    return path


def line_of(number):
    at = f"2026-01-02T03:04:{number % 60:02}+00:00"
    messages = [
        {"role": "user", "content": f"{number} \\ {place} words", "created_at": at}
        for place in range(MESSAGES)
    ]
    if number % 5 == 0:
        for place, message in enumerate(messages):
            message |= {"id": place, "parent_id": place - 1 - place // 4 if place else None}
    line = {"owner": f"user{number % 3}", "title": f"T{number}", "messages": messages}
    return line | {"created_at": at, **({"id": str(number)} if number % 2 else {})}


@contextmanager
def importing(file):
    """A process that imports the file in small batches."""
    name = connection.settings_dict["NAME"]
    code = (
        "import sys, django; django.setup();"
        "from django.db import connection;"
        f"connection.settings_dict['NAME'] = {name!r};"
        "from conversations.services import imports;"
        f"imports.BATCH_MESSAGES = {BATCH};"
        "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments_for(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def arguments_for(file):
    return ["import_conversations", str(file), "--format", "json", "--user-from", "owner"]


def stored():
    return Message.objects.count()


def wait_until_some_are_stored(process):
    while stored() < BATCH:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def exported(tmp_path):
    path = tmp_path / "exported.jsonl"
    call_command("export_conversations", "--format", "json", "-o", str(path))
    return path.read_bytes()


def remove_everything():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM conversations_conversation")
    assert stored() == 0


def all_are_whole():
    counts = Conversation.objects.values_list("message_count", flat=True)
    return set(counts) == {MESSAGES} and stored() == MESSAGES * len(counts)


def test_an_import_that_is_killed_is_completed_by_running_it_again(file, tmp_path):
    call_command(*arguments_for(file))
    assert stored() == ALL
    undisturbed = exported(tmp_path)
    for _ in range(2):
        remove_everything()
        with importing(file) as process:
            wait_until_some_are_stored(process)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert 0 < stored() < ALL
        assert all_are_whole()
        call_command(*arguments_for(file))
        assert exported(tmp_path) == undisturbed


def test_the_same_file_again_adds_nothing(file, tmp_path):
    call_command(*arguments_for(file))
    first = exported(tmp_path)
    call_command(*arguments_for(file))
    assert exported(tmp_path) == first


def test_an_import_that_is_interrupted_leaves_whole_conversations(file):
    with importing(file) as process:
        wait_until_some_are_stored(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "Run the command again for the rest." in err.decode()
    assert "Traceback" not in err.decode()
    assert 0 < stored() < ALL
    assert all_are_whole()


def test_two_imports_of_the_same_file_at_once_store_it_once(file, tmp_path):
    call_command(*arguments_for(file))
    undisturbed = exported(tmp_path)
    remove_everything()
    with importing(file) as one, importing(file) as other:
        outputs = [process.communicate() for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], outputs
    counted = [
        dict(line.split(None, 1) for line in out.decode().splitlines()) for out, _ in outputs
    ]
    assert sum(int(each["created"].split()[0]) for each in counted) == CONVERSATIONS
    assert exported(tmp_path) == undisturbed
