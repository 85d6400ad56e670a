"""Results of a search: each shows its match, and opens at it."""

import re

import pytest

from conversations.admin.formatting import duration
from conversations.models import Message
from conversations.selectors.search_sql import parse_query
from conversations.selectors.snippets import marked_html, snippet_of
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import LIST, text_of, transcript_url
from conversations.tests.factories import make_conversation, make_user

RESULT = '{"order": "PV-1", "status": "packed_by_scan", "note": "graphite"}'


def said(owner, *drafts, **fields):
    conversation = make_conversation(owner, **fields)
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


def rows_with(browser, query):
    page = text_of(browser.get(LIST, {"q": query}))
    return re.findall(r'<span class="snippet">(.*?)</bdi></span>', page)


@pytest.fixture
def order(alice):
    call = {"id": "c1", "function": {"name": "find_order", "arguments": '{"colour": "graphite"}'}}
    return said(
        alice,
        MessageDraft(role="user", content="Where is my order?"),
        MessageDraft(role="assistant", tool_calls=[call]),
        MessageDraft(role="tool", tool_call_id="c1", content=RESULT),
        MessageDraft(role="assistant", content="It is **graphite**, in `graphite`."),
        title="An order",
    )


def test_a_result_of_the_list_opens_at_its_message_inside_a_tool_result(browser, order):
    page = text_of(browser.get(LIST, {"q": "scan"}))
    found = re.search(r'<span class="snippet"><a href="([^"]+)">#3</a>', page)
    response = browser.get(found[1].replace("&amp;", "&"))
    assert response["Location"].endswith("#m-3")
    page = text_of(browser.get(response["Location"]))
    hit = re.search(r'<article id="m-3" class="[^"]*is-hit.*?</article>', page, re.S)[0]
    assert '<details class="collapsible" open>' in hit
    assert "packed_by_<mark>scan</mark>" in hit
    assert "1 of 1" in page


def test_the_title_of_a_row_leads_to_the_match_too(browser, order):
    page = text_of(browser.get(LIST, {"q": "scan"}))
    address = re.search(r'<a href="([^"]+)"><span class="conversation-title">', page)[1]
    assert address.endswith("find=scan&amp;at=3")


def test_only_the_message_looked_at_opens_what_the_search_did_not_find_it_by(browser, order):
    def opened(**query):
        page = text_of(browser.get(transcript_url(order), {"find": "graphite"} | query))
        return re.findall(r'<article id="m-(\d)"(?:(?!</article>).)*? open>', page, re.S)

    assert opened() == ["3"]
    assert opened(hit=2) == ["2", "3"]


def test_markdown_is_marked_between_its_tags(browser, order):
    page = text_of(browser.get(transcript_url(order), {"find": "graphite"}))
    assert "<strong><mark>graphite</mark></strong>" in page
    assert "<code><mark>graphite</mark></code>" in page


def test_hits_lead_to_one_another(browser, alice):
    conversation = said(
        alice, *(MessageDraft(role="user", content="abc"[n % 3] * 4) for n in range(300))
    )
    page = text_of(browser.get(transcript_url(conversation), {"find": "bbbb", "hit": 101}))
    assert "34 of 100" in page
    assert 'data-hit="previous" href="' in page
    following = re.search(r'data-hit="next" href="([^"]+)"', page)[1].replace("&amp;", "&")
    response = browser.get(following)
    assert response["Location"] == (
        f"{transcript_url(conversation)}?after=100&hit=104&find=bbbb#m-104"
    )
    last = text_of(browser.get(transcript_url(conversation), {"find": "bbbb", "hit": 299}))
    assert 'data-hit="next"' not in last


def test_pages_keep_the_marks(browser, alice):
    conversation = said(
        alice, *(MessageDraft(role="user", content=f"word {n}") for n in range(120))
    )
    page = text_of(browser.get(transcript_url(conversation), {"find": "word"}))
    assert "?after=100&amp;find=word" in page


@pytest.mark.parametrize(
    ("text", "query", "mark"),
    [
        ('{"tool": "find_order"}', "order", "order"),
        ("word " * 100 + "connected devices", "device", "devices"),
        ("word " * 30_000 + "needle at the end", "needle", "needle"),
        ("é" * 150_000 + " needle", "needle", "needle"),
        ("The dog and the cat. " * 80 + "Then the refund came.", "the refund", "refund"),
        ("by and by. " * 300 + "cancelled by the operator", '"cancelled by"', "cancelled"),
        ("It is dying. The skies are grey.", "die sky", "dying"),
        ("a" * 500 + " 返金は可能です", "返金", "返金"),
        ("Straße und Café", "cafe", "Café"),
    ],
)
def test_each_snippet_shows_its_match(browser, api, alice, text, query, mark):
    conversation = said(alice, MessageDraft(role="tool", tool_call_id="c", content=text))
    shown = f"<mark>{mark}</mark>"
    assert [shown in row for row in rows_with(browser, query)] == [True]
    assert shown in text_of(browser.get(transcript_url(conversation), {"find": query}))
    results = api.get("/api/search", {"q": query}).json()["results"]
    assert [shown in result["snippet"] for result in results] == [True]


def test_a_match_in_the_title_is_shown_though_no_message_has_it(browser, alice):
    said(alice, MessageDraft(role="user", content="hello"), title="A long way to Heidelberg")
    (row,) = rows_with(browser, "heidelberg")
    assert ">Title</a>" in row
    assert "<mark>Heidelberg</mark>" in row


def test_an_owners_name_shows_no_snippet_without_it(browser):
    """The message that has the word is shown, not the newest of the owner's messages."""
    owner = make_user("heidi")
    said(owner, MessageDraft(role="user", content="nothing of the kind"))
    said(
        owner,
        MessageDraft(role="user", content="I am heidi"),
        MessageDraft(role="user", content="and that is all"),
    )
    (row,) = rows_with(browser, "heidi")
    assert "I am <mark>heidi</mark>" in row


def test_marks_are_never_within_a_tag():
    html = '<a href="https://x.example/mark" title="a &amp; b">mark &lt;b&gt; &amp;</a>'
    assert marked_html(html, parse_query("mark b")) == (
        '<a href="https://x.example/mark" title="a &amp; b">'
        "<mark>mark</mark> &lt;<mark>b</mark>&gt; &amp;</a>"
    )


def test_a_snippet_is_cut_where_most_of_the_query_is():
    text = "refund " + "x " * 400 + "refund of the ticket" + " y" * 400
    assert "<mark>ticket</mark>" in snippet_of(text, parse_query("refund ticket"))


def test_sources_link_to_the_web_alone(browser, alice):
    sources = [
        {"title": "Rights", "url": "https://example.org/rights", "score": 0.5},
        {"title": "Script", "url": "javascript:alert(1)"},
        {"title": "Inside", "url": "/admin/logout/"},
        {"url": "http://example.org/only"},
        {"title": "Odd", "url": "http://[", "link": 7},
    ]
    page = text_of(
        browser.get(
            transcript_url(
                said(alice, MessageDraft(role="assistant", content="x", sources=sources))
            )
        )
    )
    links = re.findall(r'<li class="source"><p><a href="([^"]+)"', page)
    assert links == ["https://example.org/rights", "http://example.org/only"]


def test_totals_sum_up_the_conversation(browser, alice):
    known = {"prompt_tokens": 1_200, "completion_tokens": 30}
    conversation = said(
        alice,
        MessageDraft(role="assistant", content="a", model="m1", rating=1, **known),
        MessageDraft(role="assistant", content="b", model="m2", rating=-1, **known),
    )
    Message.objects.filter(sequence=1).update(created_at="2026-01-01T10:00:00Z")
    Message.objects.filter(sequence=2).update(created_at="2026-01-01T11:30:05Z")
    page = text_of(browser.get(transcript_url(conversation)))
    for shown in ("2,400 in, 60 out", "m1, m2", "1 h 30 min", "1 good, 1 bad"):
        assert shown in page


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "under 1 s"), (59, "59 s"), (61, "1 min 1 s"), (90_000, "1 d 1 h"), (86_400, "1 d")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_a_result_right_below_its_call_is_one_block_with_it(browser, order):
    page = text_of(browser.get(transcript_url(order)))
    (block,) = re.findall(r'<li class="block">.*?</li>', page, re.S)
    assert re.findall(r'<article id="m-(\d+)"', block) == ["2", "3"]


def test_a_date_is_jumped_to_as_a_number_is(browser, alice):
    conversation = make_conversation(alice, 3)
    Message.objects.filter(sequence=1).update(created_at="2026-01-01T08:00:00Z")
    Message.objects.filter(sequence__gt=1).update(created_at="2026-01-02T08:00:00Z")
    response = browser.get(transcript_url(conversation), {"at": "2026-01-02"})
    assert response["Location"].endswith("#m-2")
