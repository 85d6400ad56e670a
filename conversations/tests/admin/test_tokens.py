"""Tokens in the admin: made by who may, shown once, listed by how they begin, revoked."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.utils import timezone

from conversations.models import ApiToken
from conversations.services import SCRIPT, create_token
from conversations.services.groups import ensure_groups
from conversations.services.tokens import digest_of
from conversations.tests.admin.conftest import grant, signed_in, text_of
from conversations.tests.factories import make_user

TOKENS = "/admin/conversations/apitoken/"
ADD = f"{TOKENS}add/"


@pytest.fixture
def token(alice):
    return create_token(user=alice, access=SCRIPT, name="laptop")[0]


@pytest.fixture
def admins(db):
    ensure_groups()
    user = make_user("administrator", is_staff=True)
    user.groups.add(Group.objects.get(name="Administrators"))
    return signed_in(user)


def made(response):
    return re.search(r'value="([0-9a-f]{64})"', text_of(response))[1]


def test_a_token_is_shown_once(admins, alice, caplog):
    form = {"user_id": "alice", "name": "laptop", "days": "7"}
    response = admins.post(ADD, form)
    text = made(response)
    row = ApiToken.objects.get()
    assert row.digest == digest_of(text)
    assert (row.user, row.name, row.trusted, row.created_by) == (
        alice,
        "laptop",
        False,
        "administrator",
    )
    assert timedelta(days=6) < row.expires_at - timezone.now() <= timedelta(days=7)
    assert "no-store" in response["Cache-Control"]
    assert text not in caplog.text
    assert text not in str(list(LogEntry.objects.values()))
    assert text not in text_of(admins.get(TOKENS))
    assert text not in text_of(admins.get("/admin/"))


def test_a_token_of_a_namespaces_user_carries_it(admins, alice):
    User.objects.filter(pk=alice.pk).update(username="crm\uff1a3")
    made(admins.post(ADD, {"user_id": "crm\uff1a3"}))
    assert ApiToken.objects.get().namespace == "crm"


def test_only_a_superuser_makes_trusted_tokens(admins, root, alice):
    form = {"user_id": "alice", "trusted": "on", "namespace": "crm"}
    assert "Only a superuser can create a trusted token" in text_of(admins.post(ADD, form))
    assert not ApiToken.objects.exists()
    made(root.post(ADD, form))
    row = ApiToken.objects.get()
    assert (row.trusted, row.namespace) == (True, "crm")


@pytest.mark.parametrize("name", ["root", "support", "administrator", "strong"])
def test_no_token_for_accounts_with_more_rights(admins, superuser, staff, name):
    grant(make_user("strong"), "change_group")
    assert "filter-error" in text_of(admins.post(ADD, {"user_id": name}))
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"user_id": "nobody"}, "no user of this name"),
        ({"user_id": "\uff41lice"}, "U+FF41"),
        ({"user_id": ""}, "required"),
        ({"user_id": "alice", "namespace": "crm"}, "A namespace requires a trusted token"),
        ({"user_id": "alice", "trusted": "on", "namespace": "Big One"}, "lower-case"),
        ({"user_id": "alice", "days": "0"}, "greater than or equal to 1"),
        ({"user_id": "alice", "days": "99999"}, "less than or equal to"),
        ({"user_id": "alice", "name": "n" * 101}, "at most 100"),
    ],
)
def test_the_form_says_what_is_wrong(root, alice, form, said):
    page = text_of(root.post(ADD, form))
    assert said in page
    assert not ApiToken.objects.exists()


def test_each_page_takes_its_right(staff, token):
    browser = signed_in(staff)
    for page in (TOKENS, ADD, f"{TOKENS}{token.pk}/delete/"):
        assert browser.get(page).status_code == 403
    assert browser.post(ADD, {"user_id": "alice"}).status_code == 403
    assert browser.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}).status_code == 403
    grant(staff, "view_apitoken")
    browser = signed_in(staff)
    assert "Revoke" not in text_of(browser.get(TOKENS))
    assert browser.get(ADD).status_code == 403
    assert ApiToken.objects.count() == 1


def test_tokens_are_listed_by_how_they_begin(root, token):
    page = text_of(root.get(TOKENS))
    assert token.key in page
    assert token.digest not in page
    for shown in ("alice", "laptop", "manage.py", "never"):
        assert shown in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"trusted": "yes"}, ["backend"]),
        ({"trusted": "no"}, ["laptop"]),
        ({"namespace": "crm"}, ["backend"]),
        ({"namespace": "cr"}, []),
        ({"user": "alice"}, ["laptop", "backend"]),
        ({"q": "lapt"}, ["laptop"]),
    ],
)
def test_filters(root, alice, token, query, found):
    create_token(user=alice, access=SCRIPT, name="backend", trusted=True, namespace="crm")
    listed = root.get(TOKENS, query).context["cl"].result_list
    assert sorted(row.name for row in listed) == sorted(found)


def test_a_token_is_not_changed(root, token):
    for page in ("change", "history"):
        assert root.get(f"{TOKENS}{token.pk}/{page}/").status_code == 404
        assert root.post(f"{TOKENS}{token.pk}/{page}/", {"name": "x"}).status_code == 404
    assert ApiToken.objects.get().name == "laptop"


@pytest.mark.parametrize("together", [False, True])
def test_tokens_are_revoked(admins, token, together):
    chosen = {"action": "delete_selected", "_selected_action": str(token.pk)} if together else {}
    url = TOKENS if together else f"{TOKENS}{token.pk}/delete/"
    page = text_of(admins.post(url, chosen) if together else admins.get(url))
    assert "Revoke permanently?" in page
    assert "alice" in page
    assert ApiToken.objects.exists()
    admins.post(url, chosen | {"post": "yes"})
    assert not ApiToken.objects.exists()
    assert LogEntry.objects.get().object_repr == f"{token.key}\u2026 of alice"


def test_the_list_costs_the_same_number_of_queries_for_any_number_of_rows(root, alice, statements):
    counts = []
    for number in (1, 20):
        for _ in range(number):
            create_token(user=alice, access=SCRIPT)
        with statements() as seen:
            root.get(TOKENS)
        counts.append(len(seen))
    assert counts[0] == counts[1] == 5, "session, user, count, rows, saved views"
