"""list_tokens and revoke_token."""

import json

import pytest
from django.core.management import CommandError, call_command

from conversations.models import ApiToken
from conversations.tests.factories import make_token, make_user

pytestmark = pytest.mark.django_db


def test_tokens_are_listed_with_their_rights_and_without_their_text(capsys):
    plain = make_token(make_user("ann"), name="laptop")
    trusted = make_token(make_user("app"), trusted=True, namespace="crm")
    call_command("list_tokens")
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == [
        "ID",
        "USER",
        "NAME",
        "RIGHTS",
        "CREATED",
        "EXPIRES",
        "LAST",
        "USED",
        "CREATED",
        "BY",
    ]
    assert plain[:15] in lines[2]
    assert "laptop" in lines[2]
    assert "trusted (crm)" in lines[1]
    assert plain not in out
    assert trusted not in out
    call_command("list_tokens", user="ann")
    assert trusted[:15] not in capsys.readouterr().out


def test_a_token_is_revoked_by_its_id(capsys):
    text = make_token(make_user("ann"))
    call_command("revoke_token", text[:15])
    assert capsys.readouterr().out == f"Revoked the token {text[:15]} of ann.\n"
    assert not ApiToken.objects.exists()
    with pytest.raises(CommandError, match="There is no token"):
        call_command("revoke_token", text[:15])


def test_nobody_of_that_name(capsys):
    with pytest.raises(CommandError, match="There is no user"):
        call_command("list_tokens", user="nobody")
    with pytest.raises(CommandError):
        call_command("list_tokens", user=" ")


def test_as_json(capsys):
    call_command("create_token", "app", "--trusted", "--namespace=crm", "--json")
    made = json.loads(capsys.readouterr().out)
    text = made.pop("token")
    assert ApiToken.objects.get(key=made["id"]).user.username == "app"
    assert (made["user"], made["trusted"], made["namespace"]) == ("app", True, "crm")
    call_command("list_tokens", "--json")
    out = capsys.readouterr().out
    assert text not in out
    assert json.loads(out) == {"tokens": [made]}
    call_command("revoke_token", made["id"], "--json")
    assert json.loads(capsys.readouterr().out) == {"revoked": made}
    call_command("list_tokens", "--json")
    assert json.loads(capsys.readouterr().out) == {"tokens": []}


@pytest.mark.parametrize(
    "arguments",
    [("list_tokens", "--user=nobody"), ("list_tokens", "--user= "), ("revoke_token", "x")],
)
def test_what_is_not_there_ends_with_2(arguments):
    with pytest.raises(CommandError) as refused:
        call_command(*arguments)
    assert refused.value.returncode == 2


def test_interrupted_answers_as_json(capsys):
    call_command("reap_interrupted", "--json")
    assert json.loads(capsys.readouterr().out) == {"interrupted": 0}
