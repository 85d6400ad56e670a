import re

import pytest

from conversations.models import AccessRecord
from conversations.tests.admin.conftest import LIST, grant, signed_in, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user


def entries(response):
    """The sidebar's entries that are shown, each with whether it is the one that is open."""
    [group] = response.context["sidebar_navigation"]
    return {item["title"]: item["active"] for item in group["items"] if item["has_permission"]}


def breadcrumbs(response):
    [heading] = re.findall(r"<h1.*?</h1>", text_of(response), re.DOTALL)
    parts = re.findall(r"<(?:a|bdi)\b[^>]*>([^<]*)</(?:a|bdi)>", heading)
    return [part.strip() for part in parts]


def test_the_sidebar_has_every_list_once(root):
    page = root.get("/admin/")
    assert entries(page) == {
        "Dashboard": True,
        "Conversations": False,
        "Imports": False,
        "Users": False,
        "Groups": False,
        "Audit log": False,
        "Retention rules": False,
        "API tokens": False,
    }
    assert text_of(page).count('href="/admin/auth/user/"') == 1
    assert "Authentication and Authorization" not in text_of(page)


@pytest.mark.parametrize(
    ("right", "entry"),
    [
        ("import_conversation", "Imports"),
        ("view_user", "Users"),
        ("view_group", "Groups"),
        ("view_accessrecord", "Audit log"),
        ("view_apitoken", "API tokens"),
        ("view_retentionrule", "Retention rules"),
    ],
)
def test_the_sidebar_has_what_one_may_see(browser, staff, right, entry):
    assert list(entries(browser.get("/admin/"))) == ["Dashboard", "Conversations"]
    grant(staff, right)
    assert entry in entries(signed_in(staff).get("/admin/"))


def test_the_open_list_is_marked(root, alice):
    chat = make_conversation(alice, 1)
    for page in (LIST, transcript_url(chat), f"{LIST}owner/alice/"):
        assert [title for title, active in entries(root.get(page)).items() if active] == [
            "Conversations"
        ], page


def test_breadcrumbs_name_each_thing_once(root, alice):
    chat = make_conversation(alice, 1, title="Trains")
    assert breadcrumbs(root.get("/admin/")) == ["Dashboard"]
    assert breadcrumbs(root.get(LIST)) == ["Conversations"]
    assert breadcrumbs(root.get(transcript_url(chat))) == ["Conversations", "Trains"]
    assert breadcrumbs(root.get(f"{LIST}owner/alice/")) == ["Conversations", "alice"]
    assert breadcrumbs(root.get(f"{LIST}export/")) == ["Conversations", "Export conversations"]
    assert breadcrumbs(root.get(f"/admin/auth/user/{alice.pk}/change/")) == ["Users", "alice"]
    record = AccessRecord.objects.first()
    parts = breadcrumbs(root.get(f"/admin/conversations/accessrecord/{record.pk}/change/"))
    assert parts[0] == "Audit log"
    assert len(parts) == 2


def test_a_breadcrumb_leads_back_to_the_filtered_list(root, alice):
    page = transcript_url(make_conversation(alice, 1))
    page = text_of(root.get(f"{page}?_changelist_filters=owner%3Dalice"))
    assert f'href="{LIST}?owner=alice" class="shrink-0' in page


def test_without_any_right_the_dashboard_says_whom_to_ask(db):
    page = text_of(signed_in(make_user("new", is_staff=True)).get("/admin/"))
    assert "Ask an administrator" in page
