from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from conversations.models import ApiToken, Caller
from conversations.services.errors import InvalidValue
from conversations.services.tokens import (
    DAYS_OUT_OF_RANGE,
    DEACTIVATED_USER,
    LARGEST_DAYS,
    create_token,
)

pytestmark = pytest.mark.django_db


def test_a_token_makes_its_user_and_is_stored_as_a_hash():
    row, text = create_token(user_id="ann")
    assert row.user.username == "ann"
    assert not row.user.has_usable_password()
    assert text not in (row.digest, row.token_key)
    assert ApiToken.objects.get().digest == row.digest


def test_a_user_may_have_several_tokens():
    first, second = create_token(user_id="ann")[0], create_token(user_id="ann")[0]
    assert first.user == second.user
    assert User.objects.count() == 1
    assert ApiToken.objects.count() == 2


def test_it_is_valid_for_the_days_asked_for(settings):
    row, _ = create_token(user_id="ann", days=3)
    assert timedelta(days=2.9) < row.expiry - timezone.now() < timedelta(days=3)
    default, _ = create_token(user_id="ann")
    left = default.expiry - timezone.now()
    assert left <= settings.REST_KNOX["TOKEN_TTL"] < left + timedelta(hours=1)


@pytest.mark.parametrize("days", [0, -1, LARGEST_DAYS + 1])
def test_days_out_of_range_are_refused_and_nobody_is_made(days):
    with pytest.raises(InvalidValue, match=DAYS_OUT_OF_RANGE) as caught:
        create_token(user_id="ann", days=days)
    assert caught.value.field == "days"
    assert not User.objects.exists()


def test_only_a_trusted_token_lets_its_user_act_for_others():
    assert not Caller.of(create_token(user_id="ann")[0].user).trusted
    row, _ = create_token(user_id="app", trusted=True)
    assert Caller.of(User.objects.get(pk=row.user.pk)).trusted


def test_a_deactivated_user_gets_none():
    User.objects.create_user("gone", is_active=False)
    with pytest.raises(InvalidValue, match=DEACTIVATED_USER):
        create_token(user_id="gone")
