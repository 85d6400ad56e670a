"""`purge_conversations` and `apply_retention`: arguments, counts, exit codes."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from conversations.management.arguments import age
from conversations.models import AccessRecord, Conversation, Message, RetentionRule
from conversations.services import SCRIPT
from conversations.services import removal as removals
from conversations.services import retention as services
from conversations.tests.factories import make_conversation
from conversations.tests.services.test_removal import make_old

pytestmark = pytest.mark.django_db


def purge(*arguments):
    call_command("purge_conversations", "--older-than", "90d", *arguments)


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("90d", 2160), ("2w", 336), ("1y", 8760)])
def test_an_age(text, hours):
    assert age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5d", "9m", "90 d", "101y", "٣d"])
def test_what_is_no_age(text):
    with pytest.raises(CommandError, match=r"is not an age|more than 100 years"):
        call_command("purge_conversations", f"--older-than={text}")


def test_it_deletes_the_old_ones_of_a_user(alice, bob, capsys):
    make_old(make_conversation(alice, 2))
    make_conversation(alice, 1)
    make_old(make_conversation(bob, 1))
    purge("--user", "alice", "--reason", "asked", "--json")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"dry_run": False, "conversations": 1, "messages": 2, "left": 0}
    assert "deleted 1 conversation with 2 messages" in err
    assert Conversation.objects.count() == 2
    assert AccessRecord.objects.get().reason == "asked"


def test_a_dry_run_counts_and_changes_nothing(alice, capsys):
    make_old(make_conversation(alice, 2))
    pinned = make_old(make_conversation(alice, 1), 200)
    held = make_old(make_conversation(alice, 1))
    Conversation.objects.filter(pk=pinned.pk).update(pinned=True)
    Conversation.objects.filter(pk=held.pk).update(legal_hold=True)
    purge("--dry-run", "--keep-pinned", "--json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["conversations"], found["messages"]) == (1, 2)
    assert (found["pinned"], found["held"]) == (1, 1)
    assert "Dry run: nothing was changed." in err
    assert Message.objects.count() == 4
    purge("--dry-run", "--json")
    assert json.loads(capsys.readouterr().out)["conversations"] == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(["--user", "nobody"], "--user: There is no"), (["--namespace", "No!"], "--namespace: A ")],
)
def test_bad_arguments_are_named(arguments, error):
    with pytest.raises(CommandError, match=error) as raised:
        purge(*arguments)
    assert raised.value.returncode == 2


def test_ctrl_c_leaves_whole_transactions(alice, monkeypatch):
    make_old(make_conversation(alice, 1))
    make_old(make_conversation(alice, 1), 100)
    monkeypatch.setattr(removals, "NAMED", 1)
    act, calls = removals._ACTS["delete"], []

    def once(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        act(*given)

    monkeypatch.setitem(removals._ACTS, "delete", once)
    with pytest.raises(CommandError, match="run the command again") as raised:
        purge()
    assert raised.value.returncode == 130
    assert Conversation.objects.count() == Message.objects.count() == 1


def make_rule(name="old ones", **values):
    values = {"act": "delete", "days": 90, "active": True} | values
    return RetentionRule.objects.create(name=name, **values)


def apply(capsys, *arguments):
    call_command("apply_retention", "--json", *arguments)
    return json.loads(capsys.readouterr().out)["rules"]


def test_rules_that_are_on_are_applied_in_order(alice, capsys):
    make_old(make_conversation(alice, 1), 200)
    make_old(make_conversation(alice, 2), 100)
    make_rule("empty", act="empty")
    make_rule("delete", days=150)
    make_rule("off", days=1, active=False)
    assert apply(capsys) == [
        {"rule": "empty", "act": "empty", "conversations": 2, "messages": 3, "left": 0},
        {"rule": "delete", "act": "delete", "conversations": 1, "messages": 1, "left": 0},
    ]
    assert list(Message.objects.values_list("content", flat=True)) == ["", ""]
    records = AccessRecord.objects.order_by("created_at")
    assert [record.detail["retention"] for record in records] == ["empty", "delete"]


def test_a_dry_run_of_rules(alice, capsys):
    make_old(make_conversation(alice, 2))
    make_rule()
    (found,) = apply(capsys, "--dry-run")
    assert (found["rule"], found["conversations"], found["messages"]) == ("old ones", 1, 2)
    assert Message.objects.count() == 2


def test_the_setting_is_a_rule_for_all(alice, capsys, settings):
    settings.CHAT_RETENTION_DAYS = 30
    pinned = make_old(make_conversation(alice, 1), 31)
    Conversation.objects.filter(pk=pinned.pk).update(pinned=True)
    make_old(make_conversation(alice, 1), 31)
    make_old(make_conversation(alice, 1), 29)
    (done,) = apply(capsys)
    assert (done["rule"], done["conversations"]) == ("CHAT_RETENTION_DAYS", 1)


def test_without_rules_it_says_so(capsys):
    call_command("apply_retention")
    assert "No retention rule is active." in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_two_do_not_run_at_once(alice):
    """The second waits, as it says, until the first has ended."""

    def stop():
        raise KeyboardInterrupt

    with (
        services.one_at_a_time(services._LOCK, on_wait=stop),
        pytest.raises(KeyboardInterrupt),
    ):
        list(services.apply_rules(access=SCRIPT, on_wait=stop))
