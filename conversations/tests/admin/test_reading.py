"""Messages laid out, tools linked, searches inside, sources, days and neighbours."""

import time

import pytest
from django.db import connection, transaction

from conversations.formats.markdown import as_html
from conversations.models import AccessRecord, Message
from conversations.selectors import staff_search
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import grant, signed_in, text_of, transcript_url
from conversations.tests.factories import make_conversation


def said(owner, *drafts, **fields):
    conversation = make_conversation(owner, **fields)
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


def read(browser, conversation, **query):
    return text_of(browser.get(transcript_url(conversation), query))


def call(name="f", id="c"):
    return {"id": id, "function": {"name": name, "arguments": "{}"}}


def test_markdown_is_laid_out_and_raw_is_as_written(browser, alice):
    text = "**bold** `code`\n\n```python\ndef f(): pass\n```"
    conversation = said(alice, MessageDraft(role="assistant", content=text))
    page = read(browser, conversation)
    assert "<strong>bold</strong> <code>code</code>" in page
    assert 'class="hl-k">def</span>' in page
    raw = read(browser, conversation, raw="1")
    assert text.replace("`", "&#x60;") in raw or text in raw
    assert "<strong>" not in raw
    assert "Show formatted text" in raw


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>)",
        "![x](http://tracker/p.png)",
        "[x](/admin/logout/)",
        "[x](//evil.example)",
        "<img src=x onerror=alert(1)>",
        "<a href='https://x' onclick='y'>x</a>",
        "`<script>`",
        "```\n<script>alert(1)</script>\n```",
        "```x onload=1\n</code></pre><script>\n```",
    ],
)
def test_markdown_holds_nothing_that_runs_or_loads(text):
    html = as_html(text).lower()
    for bad in ("<script", "<img", 'javascript:alert(1)"', 'href="data', 'href="/', "<a onclick"):
        assert bad not in html
    assert "onerror=" not in html or "&lt;img" in html


def test_a_page_of_heavy_markdown_is_made_in_time(browser, alice):
    heavy = "| a | b |\n|-|-|\n" + "| **1** | `2` |\n" * 300
    drafts = [MessageDraft(role="assistant", content=f"{heavy}{n}") for n in range(100)]
    conversation = said(alice, *drafts)
    started = time.thread_time()
    page = read(browser, conversation)
    assert time.thread_time() - started < 10
    assert 1 <= page.count("<table>") < 30


def test_calls_and_results_lead_to_each_other_across_pages_too(browser, alice):
    filler = [MessageDraft(role="user", content="x") for _ in range(97)]
    turn = [
        MessageDraft(role="assistant", tool_calls=[call()]),
        MessageDraft(role="tool", tool_call_id="c", content="1"),
    ]
    conversation = said(alice, *turn, *filler, *turn)
    page = read(browser, conversation)
    assert 'Result of <code>c</code>: <a href="#m-2">#2</a>' in page
    assert 'of <a href="#m-1">#1</a>' in page
    assert 'Result of <code>c</code>: <a href="?at=101">#101</a>' in page
    assert 'of <a href="?at=100">#100</a>' in read(browser, conversation, after=100)


def test_sources_show_score_and_text(browser, alice):
    sources = [{"title": "Law", "score": 0.51239, "text": "Full <b>price", "page": 4}, "bare", 7]
    page = read(browser, said(alice, MessageDraft(role="assistant", content="x", sources=sources)))
    for shown in ("3 sources", "Law", "score 0.5124", "Full &lt;b&gt;price", "page", "bare"):
        assert shown in page


def test_finding_inside_looks_at_this_conversation_alone(browser, alice, bob):
    conversation = said(
        alice, *(MessageDraft(role="user", content=f"train {n}") for n in range(60)), title="train"
    )
    said(bob, MessageDraft(role="user", content="train elsewhere"))
    page = read(browser, conversation, find="train")
    assert "60 messages with" in page
    assert page.count(" User</a> <bdi") == 50
    assert read(browser, conversation, find="train", matches=2).count(" User</a> <bdi") == 10
    assert "elsewhere" not in page
    assert "No message matches “<bdi>plane</bdi>”" in read(browser, conversation, find="plane")
    assert "Longer than 500" in read(browser, conversation, find="x" * 501)
    found = AccessRecord.objects.filter(action="search").first()
    assert (found.conversation_id, found.owner_id) == (conversation.pk, alice.pk)


@pytest.mark.parametrize(
    ("day", "anchor"),
    [("2026-01-02", "#m-2"), ("2026-01-02T12:00", "#m-3"), ("2099-01-01", "#m-3"), ("x", "#m-1")],
)
def test_a_day_leads_to_its_first_message(browser, alice, day, anchor):
    conversation = make_conversation(alice, 3)
    for number in (1, 2, 3):
        at = f"2026-01-0{min(number, 2)}T{'13' if number == 3 else '08'}:00:00Z"
        Message.objects.filter(sequence=number).update(created_at=at)
    assert browser.get(transcript_url(conversation), {"on": day})["Location"].endswith(anchor)


def test_the_owners_other_conversations_are_next_to_it(browser, alice, bob):
    old, middle, new = (make_conversation(alice, 1, title=f"t{n}") for n in range(3))
    make_conversation(bob, 1)
    page = read(browser, middle)
    assert f'href="{transcript_url(new)}" title="t2">Next conversation' in page
    assert f'href="{transcript_url(old)}" title="t0">Previous conversation' in page
    assert "Next conversation" not in read(browser, new)


def test_a_huge_message_stands_in_parts(browser, alice):
    conversation = said(alice, MessageDraft(role="user", content="a" * 200_000 + "END"))
    key = Message.objects.get().id
    assert "END" not in read(browser, conversation, message=key)
    assert "END" in read(browser, conversation, message=key, part=2)
    assert browser.get(transcript_url(conversation), {"message": key, "part": 3}).status_code == 404


def test_the_trail_goes_out_as_csv(staff, browser, alice):
    make_conversation(alice, 1)
    read(browser, make_conversation(alice, 1))
    AccessRecord.objects.create(staff_name="=cmd()", action="read")
    assert browser.get("/admin/conversations/accessrecord/export/").status_code == 403
    grant(staff, "view_accessrecord")
    response = signed_in(staff).get("/admin/conversations/accessrecord/export/")
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[0].startswith("created_at,staff_name,action,owner_name,conversation_id")
    assert len(lines) == 4
    assert any(",'=cmd()," in line for line in lines)


@pytest.mark.parametrize("sql", ["UPDATE {} SET staff_name = 'x'", "DELETE FROM {}"])
def test_not_even_a_script_changes_the_trail(db, sql):
    AccessRecord.objects.create(staff_name="support", action="read")
    with pytest.raises(Exception, match="neither changed nor deleted"), transaction.atomic():
        connection.cursor().execute(sql.format("conversations_accessrecord"))
    assert AccessRecord.objects.get().staff_name == "support"


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"role": "tool"}, True),
        ({"role": "developer"}, False),
        ({"tool": "find"}, True),
        ({"tool": "fin"}, False),
        ({"status": "failed", "provider": "p"}, True),
        ({"status": "failed", "provider": "q"}, False),
        ({"answer_model": "m"}, True),
        ({"rating": "-1"}, True),
        ({"rating": "1"}, False),
        ({"mode": "booking"}, True),
        ({"status": "failed", "mode": "booking"}, False),
        ({"said_from": "2020-01-01", "said_to": "2099-01-01", "status": "failed"}, True),
        ({"said_to": "2020-01-01"}, False),
        ({"said_from": "x"}, False),
    ],
)
def test_filters_by_messages(browser, alice, bob, query, fits):
    made = {"role": "assistant", "provider": "p", "model": "m"}
    said(
        alice,
        MessageDraft(**made, content="x", status="failed"),
        MessageDraft(**made, tool_calls=[call("find")], rating=-1, detected_mode="booking"),
        MessageDraft(role="tool", tool_call_id="c", content="1"),
    )
    make_conversation(bob, 1)
    query = {"owner": "alice"} | query
    assert browser.get("/admin/conversations/conversation/", query).context[
        "cl"
    ].result_count == int(fits)


def test_the_search_box_costs_the_same_for_any_number_of_rows(browser, alice, statements):
    counts = []
    for number in (1, 30):
        for _ in range(number):
            said(alice, MessageDraft(role="user", content="a zeppelin"))
        with statements() as seen:
            browser.get("/admin/conversations/conversation/", {"q": "zeppelin"})
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14


def test_a_bounded_search_says_so(browser, alice, monkeypatch):
    for text in ("A blue whale.", "A whale, blue.", "A blue whale again."):
        said(alice, MessageDraft(role="user", content=text))
    assert "were searched" not in found_by(browser, '"blue whale"')
    monkeypatch.setattr(staff_search, "MAX_PHRASE_RECHECKS", 2)
    page = found_by(browser, '"blue whale"')
    assert "were searched" in page
    assert "<mark>blue</mark> <mark>whale</mark> again" in page
    assert "A <mark>" not in found_by(browser, '"whale again blue"')
    monkeypatch.setattr(staff_search, "MAX_MATCHES", 2)
    assert "were searched" in found_by(browser, "whale")


def found_by(browser, text):
    return text_of(browser.get("/admin/conversations/conversation/", {"q": text}))
