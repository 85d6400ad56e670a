import gzip
import io
import json
import os
import sys

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from conversations.formats import Chat, MessageDraft
from conversations.models import Conversation, Message
from conversations.services.bootstrap import SAMPLE_FILE
from conversations.tests.factories import BOOKINGS_FILE

pytestmark = pytest.mark.django_db

GOOD = {"id": "a", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def run(capsys):
    """Run the command and return its exit status, standard output and standard error."""

    def run_command(file, *arguments, file_format="openai"):
        status = 0
        owner = [] if "--user-from" in arguments else ["--user", "ann"]
        files = [str(each) for each in (file if isinstance(file, list) else [file])]
        try:
            call_command(
                "import_conversations", *files, "--format", file_format, *owner, *arguments
            )
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run_command


@pytest.fixture
def write(tmp_path):
    def write_lines(*lines):
        path = tmp_path / "chats.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write_lines


def test_the_report_is_exact(run):
    status, out, err = run(BOOKINGS_FILE)
    assert status == 0
    assert out.splitlines() == [
        "read           5 (openai)",
        "created        5",
        "extended       0",
        "already stored 0",
        "rejected       0",
        "stored         58 messages, 8 tool calls",
    ]
    assert err == ""
    assert Conversation.objects.filter(user__username="ann").count() == 5


def test_an_export_is_imported_by_the_name_of_its_format(run):
    status, out, _ = run(SAMPLE_FILE, file_format="json")
    assert status == 0
    assert "created        20\n" in out
    assert run(SAMPLE_FILE, file_format="json")[1].splitlines()[3] == "already stored 20"


def test_a_second_run_says_that_all_is_there(run):
    run(BOOKINGS_FILE)
    status, out, _ = run(BOOKINGS_FILE)
    assert status == 0
    assert out.splitlines()[1:] == [
        "created        0",
        "extended       0",
        "already stored 5",
        "rejected       0",
        "stored         0 messages, 0 tool calls",
    ]


def test_rejected_lines_are_named_on_standard_error_and_in_the_status(run, write):
    status, out, err = run(write("Hello", json.dumps(GOOD), "{}"))
    assert status == 1
    assert out.splitlines() == [
        "read           3 (openai)",
        "created        1",
        "extended       0",
        "already stored 0",
        "rejected       2",
        "stored         1 message, 0 tool calls",
    ]
    assert err.splitlines() == [
        "line 1: Not JSON: Expecting value at character 1.",
        "line 3: messages: Missing.",
    ]


def test_many_rejections_are_listed_in_part_and_reported_in_full(run, write, tmp_path):
    report = tmp_path / "rejected.jsonl"
    status, out, err = run(write(*["{}"] * 50), "--report", str(report))
    assert status == 1
    assert "rejected       50" in out
    assert len(err.splitlines()) == 21
    assert err.splitlines()[-1].startswith("… and 30 more rejected")
    rejections = [json.loads(line) for line in report.read_text().splitlines()]
    assert rejections == [
        {"file": str(tmp_path / "chats.jsonl"), "line": number, "reason": "messages: Missing."}
        for number in range(1, 51)
    ]


def test_a_dry_run_reports_the_same_and_stores_nothing(run):
    status, out, _ = run(BOOKINGS_FILE, "--dry-run")
    assert status == 0
    assert out.startswith("Dry run: nothing was stored.")
    assert "created        5\n" in out
    assert not Message.objects.exists()
    assert not User.objects.exists()


def test_standard_input_is_a_file_too(run, monkeypatch):
    reading, writing = os.pipe()
    os.write(writing, json.dumps(GOOD).encode())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        status, out, _ = run("-")
    assert status == 0
    assert "created        1\n" in out


@pytest.mark.parametrize("missing", ["nowhere.jsonl", "a/b.jsonl"])
def test_a_file_that_cannot_be_read_is_a_usage_error(run, tmp_path, missing):
    with pytest.raises(CommandError, match="No such file") as caught:
        run(tmp_path / missing)
    assert caught.value.returncode == 2
    assert not User.objects.exists()


def test_a_report_that_cannot_be_written_stops_before_anything_is_stored(run, tmp_path):
    with pytest.raises(CommandError, match="nowhere") as caught:
        run(BOOKINGS_FILE, "--report", str(tmp_path / "nowhere" / "r.jsonl"))
    assert caught.value.returncode == 2
    assert not Conversation.objects.exists()


def test_a_user_that_cannot_be_is_a_usage_error():
    with pytest.raises(CommandError, match="--user: ") as caught:
        call_command(
            *("import_conversations", str(BOOKINGS_FILE), "--format", "openai", "--user", "ann ")
        )
    assert caught.value.returncode == 2


def test_an_interrupted_import_keeps_what_it_has_and_says_so(run, monkeypatch):
    def interrupted(files, file_format):
        yield Chat(line=1, file_id="a", messages=(MessageDraft(role="user", content="Hello"),))
        raise KeyboardInterrupt

    monkeypatch.setattr("conversations.services.import_files.read_files", interrupted)
    monkeypatch.setattr("conversations.services.imports.BATCH_CONVERSATIONS", 1)
    with pytest.raises(CommandError, match="Run the command again") as caught:
        run(BOOKINGS_FILE)
    assert caught.value.returncode == 130
    assert Conversation.objects.count() == 1


def test_files_and_folders_are_recognised_and_named_in_rejections(run, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps(GOOD) + "\n{}\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps({**GOOD, "id": "b"}).encode()))
    status, out, err = run([folder, BOOKINGS_FILE], file_format="auto")
    assert status == 1
    read, created, *_ = out.splitlines()
    assert (read, created) == ("read           8 (openai)", "created        7")
    assert err.splitlines() == [f"{folder}/a.jsonl, line 2: messages: Missing."]


def test_the_format_that_each_file_was_recognised_as_is_said(run, write):
    share = {"id": "s", "conversations": [{"from": "human", "value": "Hello"}]}
    path = write(json.dumps(share))
    other = path.rename(path.with_name("other.jsonl"))
    _, out, _ = run([write(json.dumps(GOOD)), other], file_format="auto")
    assert out.splitlines()[0] == "read           2 (openai: 1, sharegpt: 1)"


def test_the_wrong_format_is_named(run):
    status, _, err = run(SAMPLE_FILE, file_format="chatgpt")
    assert status == 1
    assert "This looks like" in err


def test_the_report_as_json(run, write):
    status, out, err = run(write(json.dumps(GOOD), "{}"), "--json", "--dry-run")
    assert (status, err) == (1, "")
    report = json.loads(out)
    assert report.pop("first_rejections")[0] | {"file": ""} == {
        "file": "", "line": 2, "reason": "messages: Missing.",
    }  # fmt: skip
    assert report == {
        "dry_run": True, "read": 2, "formats": {"openai": 1}, "created": 1, "extended": 0,
        "messages": 1, "tool_calls": 0, "already_stored": 0, "rejected": 1,
    }  # fmt: skip


def test_the_owners_are_those_that_the_file_names(run, write):
    lines = [json.dumps({**GOOD, "metadata": {"customer": {"id": at % 2}}}) for at in range(3)]
    arguments = ("--user-from", "customer.id", "--namespace", "crm")
    status, out, _ = run(write(*lines), *arguments)
    assert (status, out.splitlines()[3]) == (0, "already stored 1")
    assert sorted(User.objects.values_list("username", flat=True)) == ["crm：0", "crm：1"]


def test_a_namespace_that_cannot_be_is_a_usage_error(run):
    with pytest.raises(CommandError, match="--namespace: ") as caught:
        run(BOOKINGS_FILE, "--namespace", "A B")
    assert caught.value.returncode == 2
    assert not User.objects.exists()
