"""list_tokens and revoke_token."""

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
