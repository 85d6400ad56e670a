from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from conversations.models import Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import signed_in, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()


@pytest.fixture
def conversation(alice):
    conversation = make_conversation(alice)
    known = {"role": "assistant", "content": "x", "provider": "p", "model": "m"}
    drafts = [
        MessageDraft(**known, prompt_tokens=10, completion_tokens=5, latency_ms=1_000, rating=1),
        MessageDraft(**known, latency_ms=3_000, status="failed", first_token_ms=200, rating=-1),
    ]
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


def test_says_what_went_on(browser, conversation):
    context = browser.get("/admin/").context
    messages, users, answer, first = context["charts"]
    assert messages.rows[-1].values == (2,)
    assert users.rows[-1].values == (1,)
    assert answer.rows[-1].values == (2_000, 2_900)
    assert first.rows[-1].values == (200, 200)
    assert [(share.label, share.amount) for share in context["statuses"]] == [
        ("Complete", "1"),
        ("Failed", "1"),
    ]
    assert [(share.label, share.amount) for share in context["models"]] == [("p m", "15")]
    assert [row["latency_ms"] for row in context["slowest"]] == [3_000, 1_000]
    assert context["failed"][0]["url"] == f"{transcript_url(conversation)}?at=2"


def test_each_plot_leads_to_the_list_behind_it(browser, conversation):
    context = browser.get("/admin/").context
    addresses = [chart.rows[-1].url for chart in context["charts"]]
    addresses += [
        share.url for name in ("statuses", "models", "ratings") for share in context[name]
    ]
    for address in [*addresses, context["failed_url"]]:
        found = browser.get(address).context["cl"].result_list
        assert [row.pk for row in found] == [conversation.pk], address


def test_is_computed_once_a_minute_by_index(browser, conversation, statements):
    with statements() as first:
        browser.get("/admin/")
    with statements() as second:
        browser.get("/admin/")
    asked = [sql for sql in first if "conversations_message" in sql]
    assert len(asked) == 5
    assert not [sql for sql in second if "conversations_message" in sql]


def test_older_days_are_left_out_unless_asked_for(browser, conversation):
    Message.objects.update(created_at=timezone.now() - timedelta(days=20))
    assert browser.get("/admin/").context["charts"][0].total == "Total: 0"
    assert browser.get("/admin/?days=30").context["charts"][0].total == "Total: 2"
    assert browser.get("/admin/?days=9999").context["window"] == 14


def test_who_may_not_see_chats_sees_no_figures(conversation):
    clerk = signed_in(make_user("clerk", "view_user", is_staff=True))
    response = clerk.get("/admin/")
    assert response.status_code == 200
    assert "charts" not in response.context


def test_nothing_of_a_page_may_run_but_files_of_this_site(browser, conversation):
    policy = browser.get("/admin/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "default-src 'none'" in policy
    page = text_of(browser.get("/admin/"))
    assert "<script>" not in page
    assert " onclick=" not in page


def test_times_follow_the_browsers_zone(browser, conversation):
    Message.objects.update(created_at="2026-01-02T23:30:00Z")
    browser.cookies["zone"] = "Asia%2FTokyo"
    assert "2026-01-03 08:30:00 JST" in text_of(browser.get(transcript_url(conversation)))
    browser.cookies["zone"] = "..%2F..%2Fetc%2Fpasswd"
    assert "2026-01-02 23:30:00 UTC" in text_of(browser.get(transcript_url(conversation)))


def figures_of(response):
    return {figure.label: (figure.value, figure.change) for figure in response.context["figures"]}


def test_headline_figures_are_compared_with_the_period_before(browser, alice, conversation):
    assert figures_of(browser.get("/admin/")) == {
        "Messages": ("2", "No earlier data"),
        "Active users": ("1", "No earlier data"),
        "Answers": ("2", "No earlier data"),
        "Failed answers": ("1", "No earlier data"),
        "Median time to answer": ("2.0 s", "No earlier data"),
    }
    earlier = make_conversation(alice, 4)
    Message.objects.filter(conversation=earlier).update(
        created_at=timezone.now() - timedelta(days=20), latency_ms=1_600, status="failed"
    )
    cache.clear()
    assert figures_of(browser.get("/admin/")) == {
        "Messages": ("2", "-50%"),
        "Active users": ("1", "No change"),
        "Answers": ("2", "No change"),
        "Failed answers": ("1", "-75%"),
        "Median time to answer": ("2.0 s", "+25%"),
    }


def test_slow_and_failed_answers_are_named(browser, conversation):
    response = browser.get("/admin/")
    row = response.context["slowest"][0]
    assert (row["title"], row["owner"], row["duration"]) == (conversation.title, "alice", "3.0 s")
    page = text_of(response)
    assert "3.0 s" in page
    assert "ms<" not in page
    assert f"<bdi>{conversation.title}</bdi></a>" in page


def test_an_empty_installation_says_what_to_do(browser, root, alice):
    page = text_of(browser.get("/admin/"))
    assert "No conversations yet" in page
    assert "manage.py quickstart" in page
    assert "Ask an administrator for an API token" in page
    assert "/admin/conversations/apitoken/add/" in text_of(root.get("/admin/"))
    make_conversation(alice)
    assert "No conversations yet" not in text_of(browser.get("/admin/"))
