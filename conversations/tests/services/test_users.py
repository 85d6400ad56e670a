"""Names of users, with and without a namespace."""

import pytest
from django.contrib.auth.models import User

from conversations.models.user_names import LARGEST_EXACT_NUMBER, name_of
from conversations.services import InvalidValue, NotAllowed, NotFound, owner_to_read
from conversations.services.users import (
    find_or_create_user,
    find_user,
    owner_to_write_for,
    similar_names,
)
from conversations.tests.factories import access_of, make_staff, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("number", [0, 3, 1_000_000_001, 2**31, LARGEST_EXACT_NUMBER])
def test_a_number_is_the_name_of_its_digits_and_no_key(number):
    made = find_or_create_user(number)
    assert made == find_or_create_user(str(number))
    assert made.username == str(number)
    assert User.objects.create_user("next").pk == made.pk + 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("\uff41\uff4c\uff49\uff43\uff45", "U+FF41"),  # fullwidth letters
        (" alice ", "U+0020"),
        ("alice\u00a0", "U+00A0"),
        ("\uff11\uff12", "U+FF11"),
        ("ali\u200bce", "U+200B"),
        ("ali\u202ece", "U+202E"),
        ("ali\nce", "U+000A"),
        ("ali\u2066ce", "U+2066"),
        ("\ufdfa", "U+FDFA"),
        ("ale\u0301", "U+0301"),  # NFKC composes it with the letter before
        ("al\ufffdce", "U+FFFD"),
        ("x\u3164", "U+3164"),
        ("crm\uff1a3", "U+FF1A"),
        ("alice\u2003", "U+2003"),
    ],
)
def test_a_name_with_a_misleading_character_is_refused_and_the_character_named(name, said):
    make_user("alice")
    for write in (True, False):
        resolve = owner_to_write_for if write else owner_to_read
        trusted = access_of(make_user(f"app{write}"), trusted=True)
        with pytest.raises(InvalidValue) as refused:
            resolve(trusted, name)
        assert refused.value.field == "user_id"
        assert said in refused.value.detail
    assert User.objects.count() == 3


@pytest.mark.parametrize("name", ["x" * 151, "", " ", "9" * 151, "\x00", "\ud800", "*", -1, 10**30])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidValue) as refused:
        find_or_create_user(name)
    assert refused.value.field == "user_id"
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("username", "namespace", "name"),
    [
        ("3", "", 3),
        ("0", "", 0),
        ("03", "", "03"),
        ("-3", "", "-3"),
        ("\u0663", "", "\u0663"),
        (str(LARGEST_EXACT_NUMBER), "", LARGEST_EXACT_NUMBER),
        (str(LARGEST_EXACT_NUMBER + 1), "", str(LARGEST_EXACT_NUMBER + 1)),
        ("crm\uff1a3", "crm", 3),
        ("crm\uff1a3", "", "crm\uff1a3"),
        ("crm\uff1aann", "crm", "ann"),
        ("erp\uff1a3", "crm", "\uff1aerp\uff1a3"),
        ("backend", "crm", "\uff1abackend"),
    ],
)
def test_what_a_caller_calls_a_user(username, namespace, name):
    assert name_of(username, namespace) == name


def test_names_that_differ_in_case_are_different_people():
    ann, other = find_or_create_user("ann"), find_or_create_user("Ann")
    assert ann != other
    assert similar_names(ann) == ["Ann"]


def test_the_same_name_in_two_namespaces_and_in_none_is_three_people():
    crm, erp, none = (
        find_or_create_user(3, namespace=namespace) for namespace in ("crm", "erp", "")
    )
    assert len({crm.pk, erp.pk, none.pk}) == 3
    assert find_user(3, namespace="crm") == crm
    assert find_user("crm\uff1a3") == crm  # as staff and scripts see it
    app = access_of(make_user("app"), trusted=True, namespace="crm")
    assert owner_to_read(app, 3) == crm
    assert owner_to_read(app, "app") is None


def test_a_name_and_its_namespace_fit_together():
    with pytest.raises(InvalidValue):
        find_or_create_user("x" * 150, namespace="crm")
    assert find_or_create_user("x" * 146, namespace="crm")


@pytest.mark.parametrize("namespace", ["", "crm"])
def test_a_trusted_client_never_acts_for_staff(namespace):
    staff, root = (find_or_create_user(name, namespace=namespace) for name in ("support", "root"))
    staff.is_staff = root.is_superuser = True
    staff.save()
    root.save()
    app = access_of(make_user("app"), trusted=True, namespace=namespace)
    for name in ("support", "root"):
        for resolve in (owner_to_read, owner_to_write_for):
            with pytest.raises(NotAllowed, match="staff account"):
                resolve(app, name)
    own = access_of(staff, trusted=True, namespace=namespace)
    assert owner_to_write_for(own, "support") == staff


def test_only_those_who_may_act_for_others_can_name_them(alice, bob):
    for resolve in (owner_to_read, owner_to_write_for):
        assert resolve(access_of(alice), "alice") == alice
        with pytest.raises(NotFound):
            resolve(access_of(alice), "bob")
        with pytest.raises(NotFound):
            resolve(access_of(alice), "nobody")
    assert not User.objects.filter(username="nobody").exists()


@pytest.mark.parametrize("name", ["alice", "support", "nobody"])
def test_a_client_of_a_namespace_neither_makes_nor_learns_of_users_outside_of_it(alice, name):
    make_staff()
    app = make_user("app")
    before = User.objects.count()
    for resolve in (owner_to_read, owner_to_write_for):
        with pytest.raises(NotFound):
            resolve(access_of(app, trusted=True, namespace="crm"), f"\uff1a{name}")
    assert User.objects.count() == before
