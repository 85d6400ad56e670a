import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from conversations.api.authentication import caller_with_token
from conversations.models import ApiToken
from conversations.tests.factories import make_staff, make_token, make_user

pytestmark = pytest.mark.django_db


def create(capsys, *arguments):
    call_command("create_token", *arguments)
    out, err = capsys.readouterr()
    return caller_with_token(out.removesuffix("\n")), err


def test_standard_output_is_the_token_alone(capsys):
    call_command("create_token", "ann")
    out, err = capsys.readouterr()
    token = out.removesuffix("\n")
    assert token.isalnum()
    assert caller_with_token(token).user.username == "ann"
    assert err.startswith("Token for ann, valid until ")
    assert token not in err


def test_trusted_is_a_right_of_the_token_and_is_said(capsys):
    before = make_token(make_user("app"))
    caller, err = create(capsys, "app", "--trusted", "--namespace", "crm", "--name", "CRM")
    assert ", a trusted client of the namespace crm," in err
    assert (caller.trusted, caller.namespace) == (True, "crm")
    assert not caller_with_token(before).trusted
    assert ApiToken.objects.get(trusted=True).name == "CRM"


def test_a_number_is_a_name(capsys):
    caller, _ = create(capsys, "999999")
    assert caller.user.username == "999999"
    assert User.objects.create_user("next").pk == caller.user.pk + 1


def test_names_that_differ_in_case_alone_are_pointed_out(capsys):
    make_user("Alice")
    _, err = create(capsys, "alice")
    assert "differ from alice only in case: Alice" in err


def test_a_trusted_token_of_a_staff_account_is_pointed_out(capsys):
    make_staff("boss")
    assert "boss is a staff account" in create(capsys, "boss", "--trusted")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ann", "--days=0"),
        ("ann", "--days=-3"),
        ("ann", "--days=99999999"),
        ("ann", "--namespace=crm"),
        ("ann", "--trusted", "--namespace=C R M"),
        ("ann ",),
        ("\uff41nn",),
    ],
)
def test_what_cannot_be_is_a_usage_error_and_makes_nobody(capsys, arguments):
    with pytest.raises(CommandError) as caught:
        call_command("create_token", *arguments)
    assert caught.value.returncode == 2
    assert capsys.readouterr().out == ""
    assert not User.objects.exists()
