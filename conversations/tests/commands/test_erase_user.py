import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from conversations.models import AccessRecord, Conversation, Message
from conversations.tests.factories import make_conversation


def test_erases_and_leaves_a_record(alice, bob, capsys):
    make_conversation(alice, 3)
    make_conversation(bob, 1)
    call_command("erase_user", "alice", reason="Asked for it")
    assert "Erased alice with 1 conversation and 3 messages." in capsys.readouterr().err
    assert list(User.objects.all()) == [bob]
    assert Message.objects.count() == 1
    record = AccessRecord.objects.get(detail__erased=True)
    assert (record.staff_name, record.reason) == ("manage.py", "Asked for it")


def test_a_dry_run_takes_nothing(alice, capsys):
    make_conversation(alice, 3)
    call_command("erase_user", "alice", dry_run=True)
    assert "Would erase alice" in capsys.readouterr().err
    assert Message.objects.count() == 3


def test_a_hold_and_an_unknown_name_are_refused(alice):
    make_conversation(alice, 1)
    Conversation.objects.update(legal_hold=True)
    for name, why in [("alice", "legal hold"), ("nobody", "no user")]:
        with pytest.raises(CommandError, match=why):
            call_command("erase_user", name)
    assert User.objects.filter(pk=alice.pk).exists()
