import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from django.core.management import CommandError, call_command
from django.db import connection

from conversations.management.commands import export_conversations as command
from conversations.models import Conversation, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts, find_or_create_user
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.formats.test_vcon_signature import certificate, pem

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsysbinary):
    """Run the command and return what it wrote to standard output and to standard error."""

    def run_command(*arguments, **options):
        call_command("export_conversations", *arguments, **{"format": "jsonl"} | options)
        out, err = capsysbinary.readouterr()
        return out.decode(), err.decode()

    return run_command


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chats.jsonl"


def titles(text):
    return [json.loads(line)["title"] for line in text.splitlines()]


def test_all_conversations_are_written_in_order_of_their_ids(run, path, alice, bob):
    chats = [make_conversation(user, 2, title=user.username) for user in (alice, bob, alice)]
    out, err = run(output=str(path))
    assert (out, err) == ("", "exported 3\n")
    ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert ids == sorted(str(chat.pk) for chat in chats)


def test_standard_output_has_nothing_but_the_export(run, alice):
    make_conversation(alice, 1, title="Zürich")
    out, err = run(output="-")
    assert titles(out) == ["Zürich"]
    assert err == "exported 1\n"


def test_the_conversations_of_a_user_alone(run, alice, bob):
    make_conversation(alice, title="a")
    make_conversation(bob, title="b")
    make_conversation(find_or_create_user("bob", namespace="app"), title="c")
    assert titles(run(output="-", user="bob")[0]) == ["b"]
    assert titles(run(output="-", user="bob", namespace="app")[0]) == ["c"]


@pytest.mark.parametrize(("name", "reason"), [("carol", "No such user."), ("a ", "")])
def test_a_user_who_is_not_there_is_a_usage_error(run, path, name, reason):
    with pytest.raises(CommandError, match=f"--user: {reason}") as caught:
        run(output=str(path), user=name)
    assert caught.value.returncode == 2
    assert not list(path.parent.iterdir())


def test_the_branches_to_write_can_be_chosen(run, alice):
    chat = make_conversation(alice, 2)
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="assistant", content="other")],
        parents=[chat.messages.in_order()[0].id],
        access=SCRIPT,
    )
    active = run(output="-", format="openai")[0]
    both = run(output="-", format="openai", branches="all")[0]
    assert [len(text.splitlines()) for text in (active, both)] == [1, 2]
    assert active in both
    assert "other" in active


def test_only_the_owner_of_the_file_may_read_it(run, path, alice):
    run(output=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_of_before_stays_until_the_new_one_is_complete(run, path, alice, monkeypatch):
    path.write_text("before")

    def failing(**options):
        yield "new"
        assert path.read_text() == "before"
        (part,) = set(path.parent.iterdir()) - {path}
        assert part.name.startswith(".chats.jsonl.")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "export_conversations", failing)
    with pytest.raises(CommandError, match="is as it was before") as caught:
        run(output=str(path))
    assert caught.value.returncode == 130
    assert [each.name for each in path.parent.iterdir()] == ["chats.jsonl"]
    assert path.read_text() == "before"


def test_a_link_is_followed(run, tmp_path, path, alice):
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    make_conversation(alice)
    run(output=str(link))
    assert link.is_symlink()
    assert len(path.read_text().splitlines()) == 1


def test_a_pipe_is_written_to_and_stays_one(run, tmp_path, alice):
    make_conversation(alice, title="a")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        run(output=str(pipe))
        assert titles(reader.stdout.read()) == ["a"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("where", "reason"), [("no/where.jsonl", "No such file"), ("no/where/", "No such file")]
)
def test_a_file_that_cannot_be_written_is_a_usage_error(run, tmp_path, where, reason):
    with pytest.raises(CommandError, match=reason) as caught:
        run(output=str(tmp_path / where))
    assert caught.value.returncode == 2
    assert not list(tmp_path.iterdir())


def test_a_conversation_that_is_exported_can_be_imported(run, path, alice, bob):
    make_conversation(alice, 3, title="a")
    run(output=str(path))
    call_command("import_conversations", str(path), format="jsonl", user="bob")
    assert Conversation.objects.get(user=bob).message_count == 3


def test_the_filters_narrow_each_other_down(run, alice, bob):
    chats = {
        name: make_conversation(user, 2, title=name, **fields)
        for name, user, fields in (
            ("tagged", alice, {"tags": ["a", "b"]}),
            ("half", alice, {"tags": ["a"]}),
            ("pinned", alice, {"model_used": "m"}),
            ("theirs", bob, {"tags": ["a", "b"]}),
        )
    }
    Conversation.objects.filter(title="pinned").update(pinned=True)
    Message.objects.filter(conversation=chats["pinned"], sequence=2).update(
        rating=1, detected_mode="chat", content="a zeppelin over the sea"
    )
    Message.objects.filter(conversation=chats["half"], sequence=2).update(rating=-1)
    Conversation.objects.filter(pk=chats["half"].pk).update(updated_at="2020-01-01T12:00Z")

    def found(**options):
        return set(titles(run(output="-", **options)[0]))

    assert found(tag=["a", "b"]) == {"tagged", "theirs"}
    assert found(tag=["a", "b"], user="alice") == {"tagged"}
    assert found(pinned="true") == found(model="m") == found(mode="chat") == {"pinned"}
    assert found(rating="-1") == {"half"}
    assert found(min_rating="1") == found(query="zeppelins") == {"pinned"}
    assert found(query="half") == {"half"}
    assert found(until="2020-01-02") == found(until="2020-01-01T12:00:01Z") == {"half"}
    assert found(until="2020-01-01T12:00Z") == set()
    assert found(since="2020-01-01T12:00Z") == set(chats)
    assert found(since="2020-01-02") == set(chats) - {"half"}
    assert found(id=[chats["half"].pk, chats["theirs"].pk]) == {"half", "theirs"}
    assert found(query="...") == set()


def test_the_users_of_a_namespace(run, alice):
    make_conversation(alice, title="a")
    make_conversation(find_or_create_user("x", namespace="app"), title="b")
    make_conversation(find_or_create_user("y", namespace="app"), title="c")
    assert titles(run(output="-", namespace="app")[0]) == ["b", "c"]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("since", "yesterday", "--since: A date"),
        ("until", "2026-13-01", "--until: A date"),
        ("rating", "5", "--rating: "),
        ("min_rating", "x", "--min-rating: "),
        ("tag", [""], "--tag: "),
        ("query", "x" * 501, "--query: Longer"),
        ("id", [uuid.UUID(int=1)], "--id: No such conversation: 00000000-"),
    ],
)
def test_an_argument_that_is_not_valid_is_named(run, path, option, value, named):
    with pytest.raises(CommandError, match=re.escape(named)) as caught:
        run(output=str(path), **{option: value})
    assert caught.value.returncode == 2
    assert not list(path.parent.iterdir())


def test_a_folder_gets_a_file_for_each_conversation(run, tmp_path, alice):
    chats = [make_conversation(alice, 1) for _ in range(2)]
    for folder in (tmp_path, f"{tmp_path}/new/"):
        run(output=str(folder), format="html")
    for folder in (tmp_path, tmp_path / "new"):
        pages = sorted(page.name for page in folder.glob("*.html"))
        assert pages == sorted(f"{chat.pk}.html" for chat in chats)
        assert stat.S_IMODE((folder / pages[0]).stat().st_mode) == 0o600


def test_each_branch_has_a_file_of_its_own_in_a_folder(run, tmp_path, alice):
    chat = make_conversation(alice, 2)
    append_drafts(
        conversation_id=chat.pk,
        drafts=[MessageDraft(role="assistant", content="other")],
        parents=[chat.messages.in_order()[0].id],
        access=SCRIPT,
    )
    run(output=str(tmp_path), format="markdown", branches="all")
    names = [f"{chat.pk}-branch-0.md", f"{chat.pk}-branch-1.md"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names


def test_a_page_for_several_conversations_is_refused(run, tmp_path, alice):
    chat = make_conversation(alice, 1)
    make_conversation(alice, 1)
    path = tmp_path / "chats.html"
    with pytest.raises(CommandError, match="--format: A file of this format has one"):
        run(output=str(path), format="html")
    assert not path.exists()
    run(output=str(path), format="html", id=[chat.pk])
    assert path.read_text().endswith("</html>\n")


def test_a_name_that_ends_in_gz_is_compressed_the_same_way_each_time(run, tmp_path, alice):
    make_conversation(alice, 3)
    plain, first, second = (tmp_path / name for name in ("a", "b.jsonl.gz", "c.jsonl.gz"))
    for path in (plain, first, second):
        run(output=str(path))
    assert gzip.decompress(first.read_bytes()) == plain.read_bytes()
    assert first.read_bytes() == second.read_bytes()


def test_json_says_what_was_written(run, path, alice):
    make_conversation(alice, 1)
    out, err = run(output=str(path), json=True)
    said = json.loads(out)
    assert (said["output"], said["conversations"]) == (str(path), 1)
    assert said["seconds"] >= 0
    assert err == ""
    with pytest.raises(CommandError, match="--json: Standard output has the export"):
        run(output="-", json=True)


def test_a_vcon_is_signed_with_a_key(run, tmp_path, alice):
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(pem(key))
    (tmp_path / "chain").write_bytes(certificate(key))
    signing = {
        "sign_key": str(tmp_path / "key"),
        "sign_certificates": str(tmp_path / "chain"),
    }
    chat = make_conversation(alice, 1)
    signed = json.loads(run(output="-", format="vcon", **signing)[0])
    assert signed["signatures"][0]["header"]["uuid"] == str(chat.pk)
    with pytest.raises(CommandError, match="Only vcon is signed"):
        run(output="-", **signing)
    (tmp_path / "key").write_bytes(b"none")
    with pytest.raises(CommandError, match="--sign-key: Not a private key"):
        run(output="-", format="vcon", **signing)


def process(*arguments, **environment):
    """The command in a process of its own, on the database of the tests."""
    name = connection.settings_dict["NAME"]
    code = (
        "import sys, django; django.setup(); from django.db import connection;"
        f"connection.settings_dict['NAME'] = {name!r};"
        "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "export_conversations", "--format", "jsonl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )


@pytest.fixture
def many(transactional_db):
    """More than fits into a pipe."""
    user = make_user("many")
    for _ in range(40):
        make_conversation(user, 100)


def test_all_is_written_to_an_unbuffered_standard_output(many):
    """A write to a pipe that is full may be a part."""
    with process("-o", "-", PYTHONUNBUFFERED="1") as export:
        assert len(export.stdout.read().splitlines()) == 40


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_it_without_a_word(many, unbuffered):
    with process("-o", "-", PYTHONUNBUFFERED=unbuffered) as export:
        assert export.stdout.readline()
        export.stdout.close()
        assert (export.wait(), export.stderr.read()) == (141, b"")


def test_a_process_that_is_killed_leaves_the_file_of_before(many, path):
    path.write_text("before")
    with process("-o", str(path)) as export:
        while not list(path.parent.glob(".chats.jsonl.*.part")):
            assert export.poll() is None
            time.sleep(0.005)
        export.send_signal(signal.SIGKILL)
    assert path.read_text() == "before"


def test_a_folder_that_is_not_there_is_named_as_it_was_given(run, tmp_path):
    path = tmp_path / "missing" / "chats.jsonl"
    with pytest.raises(CommandError) as caught:
        run(output=str(path))
    assert str(caught.value) == f"{path}: No such file or directory"


def test_a_rating_that_there_is_not_is_refused_with_those_that_there_are(run, path):
    with pytest.raises(CommandError, match=r"--rating: invalid choice: '4' .*'1', '-1'"):
        run("--rating", "4", "--output", str(path))


def test_ratings_below_zero_are_taken(run, path, alice):
    make_conversation(alice, 1)
    assert run("--rating", "-1", "--min-rating=-1", "--output", str(path))[1] == "exported 0\n"
