"""Retention rules in the admin: off until somebody who saw their effect switches them on."""

import time

import pytest
from django.db import connection

from conversations.models import AccessRecord, Conversation, RetentionAct, RetentionRule
from conversations.selectors import retention
from conversations.selectors.retention import Due, preview
from conversations.services.groups import ensure_groups
from conversations.tests.admin.conftest import signed_in, text_of
from conversations.tests.factories import make_conversation, make_user
from conversations.tests.services.test_removal import make_old

pytestmark = pytest.mark.django_db
RULES = "/admin/conversations/retentionrule/"
FORM = {"name": "old ones", "act": "delete", "days": "90", "keep_pinned": "on"}


def page_of(rule):
    return f"{RULES}{rule.pk}/change/"


@pytest.fixture
def rule(root):
    root.post(f"{RULES}add/", FORM)
    return RetentionRule.objects.get()


def test_a_new_rule_is_off_whatever_is_sent(root):
    root.post(f"{RULES}add/", FORM | {"active": "on"})
    assert not RetentionRule.objects.get().active


def test_its_page_says_what_it_would_do(root, rule, alice):
    for number in range(3):
        make_old(make_conversation(alice, 2), 200 + number)
    pinned, held = (make_old(make_conversation(alice, 1)) for _ in range(2))
    Conversation.objects.filter(pk=pinned.pk).update(pinned=True)
    Conversation.objects.filter(pk=held.pk).update(legal_hold=True)
    page = text_of(root.get(page_of(rule)))
    assert "Deletes 3 conversations with 6 messages, the oldest of <time" in page
    assert "Left out: 1 pinned, 1 on legal hold." in page


def test_it_is_switched_on_by_a_second_form(root, rule):
    root.post(page_of(rule), FORM | {"active": "on"})
    rule.refresh_from_db()
    assert rule.active


@pytest.mark.parametrize(
    "change", [{"days": "1"}, {"act": "empty"}, {"tag": "x"}, {"namespace": "crm"}]
)
def test_a_change_of_what_it_does_switches_it_off(root, rule, change):
    root.post(page_of(rule), FORM | {"active": "on"})
    response = root.post(page_of(rule), FORM | {"active": "on"} | change, follow=True)
    assert "it is off" in text_of(response)
    rule.refresh_from_db()
    assert not rule.active


def test_a_new_name_leaves_it_on(root, rule):
    root.post(page_of(rule), FORM | {"active": "on"})
    root.post(page_of(rule), FORM | {"active": "on", "name": "very old"})
    rule.refresh_from_db()
    assert (rule.name, rule.active) == ("very old", True)


def test_who_may_not_delete_conversations_switches_none_on(rule):
    clerk = make_user("clerk", "view_retentionrule", "change_retentionrule", is_staff=True)
    signed_in(clerk).post(page_of(rule), FORM | {"active": "on", "name": "mine"})
    rule.refresh_from_db()
    assert (rule.name, rule.active) == ("mine", False)


def test_administrators_may_and_others_may_not(rule):
    ensure_groups()
    for group, status in [("Administrators", 200), ("Compliance", 403)]:
        user = make_user(group.lower(), is_staff=True)
        user.groups.add(user.groups.model.objects.get(name=group))
        assert signed_in(user).get(page_of(rule)).status_code == status


def test_each_change_is_recorded(root, rule):
    root.post(page_of(rule), FORM | {"active": "on"})
    root.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"})
    assert not RetentionRule.objects.exists()
    found = AccessRecord.objects.order_by("created_at").values_list("action", "detail")
    assert [(action, detail["rule"]) for action, detail in found] == [
        ("change", "old ones"),
        ("change", "old ones"),
        ("delete", "old ones"),
    ]
    assert found[1][1]["active"] is True


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"days": "0"}, "greater than or equal to 1"),
        ({"days": "40000"}, "less than or equal to 36500"),
        ({"act": "burn"}, "not one of the available choices"),
        ({"namespace": "No!"}, "lower-case"),
        ({"name": ""}, "required"),
    ],
)
def test_bad_values_are_named(root, change, error):
    page = text_of(root.post(f"{RULES}add/", FORM | change))
    assert error in page
    assert not RetentionRule.objects.exists()


def test_a_group_that_a_rule_names_stays(root, rule):
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="Trainees")
    RetentionRule.objects.update(group=group)
    root.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    assert Group.objects.filter(pk=group.pk).exists()


def test_a_preview_counts_no_more_than_its_bound(alice, monkeypatch):
    monkeypatch.setattr(retention, "PREVIEWED", 3)
    for _ in range(5):
        make_old(make_conversation(alice, 1))
    found = preview(Due(act=RetentionAct.DELETE))
    assert (found.conversations, found.bounded) == (3, True)


def test_a_preview_ends_in_time(alice, monkeypatch):
    make_conversation(alice, 1)
    monkeypatch.setattr(retention, "PREVIEW_SECONDS", 0.05)
    slow = Conversation.objects.extra(where=["pg_sleep(30) IS NOT NULL"])
    monkeypatch.setattr(Due, "matching", lambda self: slow)
    began = time.monotonic()
    assert preview(Due(act=RetentionAct.DELETE)).timed_out
    assert time.monotonic() - began < 25
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
