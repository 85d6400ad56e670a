import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from knox.auth import TokenAuthentication

from conversations.models import Caller

pytestmark = pytest.mark.django_db


def test_standard_output_is_the_token_alone(capsys):
    call_command("create_token", "ann")
    out, err = capsys.readouterr()
    token = out.removesuffix("\n")
    assert token.isalnum()
    user, _ = TokenAuthentication().authenticate_credentials(token.encode())
    assert user.username == "ann"
    assert err.startswith(f"Token for ann (user {user.pk}), valid until ")
    assert token not in err


def test_trusted_grants_the_permission_and_says_so(capsys):
    call_command("create_token", "app", "--trusted")
    assert ", a trusted client," in capsys.readouterr().err
    assert Caller.of(User.objects.get()).trusted


@pytest.mark.parametrize("days", ["0", "-3", "99999999"])
def test_days_out_of_range_are_a_usage_error(capsys, days):
    with pytest.raises(CommandError) as caught:
        call_command("create_token", "ann", f"--days={days}")
    assert caught.value.returncode == 2
    assert capsys.readouterr().out == ""
    assert not User.objects.exists()
