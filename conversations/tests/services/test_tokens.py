from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.api.authentication import caller_with_token
from conversations.models import ApiToken
from conversations.services import SCRIPT, NotFound
from conversations.services.errors import InvalidValue
from conversations.services.tokens import (
    DAYS_OUT_OF_RANGE,
    DEACTIVATED_USER,
    MAX_DAYS,
    create_token,
    lifetime_of,
    revoke_token,
    tokens_of,
)
from conversations.tests.factories import access_of, make_user

pytestmark = pytest.mark.django_db


def token_of(user, **options):
    return create_token(user=user, access=SCRIPT, **options)


def test_a_token_is_stored_as_a_hash(alice):
    row, text = token_of(alice, name="laptop")
    assert text not in (row.digest, row.key)
    stored = ApiToken.objects.get()
    assert (stored.digest, stored.name, stored.created_by) == (row.digest, "laptop", "manage.py")
    assert text.startswith(stored.key)


def test_its_creator_is_stored(alice):
    row, _ = create_token(user=alice, access=access_of(make_user("root")))
    assert row.created_by == "root"


def test_it_is_valid_for_the_days_asked_for(alice, settings):
    row, _ = token_of(alice, lifetime=lifetime_of(3))
    assert timedelta(days=2.9) < row.expires_at - timezone.now() < timedelta(days=3)
    default, _ = token_of(alice)
    left = default.expires_at - timezone.now()
    assert left <= timedelta(days=settings.TOKEN_DAYS) < left + timedelta(hours=1)


@pytest.mark.parametrize("days", [0, -1, MAX_DAYS + 1])
def test_days_out_of_range_are_refused(days):
    with pytest.raises(InvalidValue, match=DAYS_OUT_OF_RANGE) as caught:
        lifetime_of(days)
    assert caught.value.field == "days"


def test_a_trusted_token_makes_no_other_token_of_its_user_trusted(alice):
    _, before = token_of(alice)
    _, trusted = token_of(alice, trusted=True, namespace="crm")
    _, after = token_of(alice)
    rights = [
        (caller.trusted, caller.namespace)
        for caller in map(caller_with_token, (before, trusted, after))
    ]
    assert rights == [(False, ""), (True, "crm"), (False, "")]


@pytest.mark.parametrize("namespace", ["CRM", "crm ", "-crm", "c" * 33, "a:b", "a\uff1ab", "\x00"])
def test_a_namespace_is_a_plain_word(alice, namespace):
    with pytest.raises(InvalidValue) as caught:
        token_of(alice, trusted=True, namespace=namespace)
    assert caught.value.field == "namespace"


def test_a_deactivated_user_gets_no_token():
    gone = make_user("gone", is_active=False)
    with pytest.raises(InvalidValue, match=DEACTIVATED_USER):
        token_of(gone)


def test_last_use_is_not_stored_for_every_request(alice, statements):
    row, text = token_of(alice)
    assert row.last_used_at is None
    counts = []
    for _ in range(3):
        with statements() as seen:
            caller_with_token(text)
        counts.append(len(seen))
    assert counts == [2, 1, 1]
    row.refresh_from_db()
    assert timezone.now() - row.last_used_at < timedelta(seconds=10)


def test_a_revoked_token_is_rejected(alice, bob):
    row, text = token_of(alice)
    with pytest.raises(NotFound):
        revoke_token(key=row.key, user=bob)
    assert tokens_of(alice) == [row]
    revoke_token(key=row.key)
    assert caller_with_token(text) is None
    assert tokens_of(alice) == []
