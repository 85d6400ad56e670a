import re
import uuid

import pytest

from conversations.admin.transcript.branches import PAGE_SIZE
from conversations.admin.transcript.queries import CUT_AT
from conversations.db.owners import is_distributed
from conversations.models import Conversation, Message
from conversations.services import (
    SCRIPT,
    MessageDraft,
    append_drafts,
    delete_message,
    update_conversation,
)
from conversations.tests.admin.conftest import text_of, transcript_url
from conversations.tests.cluster import analyze
from conversations.tests.factories import make_conversation, make_user


def sequences(page):
    return [int(number) for number in re.findall(r'<article id="m-(\d+)"', page)]


def read(browser, conversation, **query):
    response = browser.get(transcript_url(conversation), query)
    assert response.status_code == 200
    return text_of(response)


def said(owner, *drafts, **fields):
    conversation = make_conversation(owner, **fields)
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


@pytest.fixture
def long(alice):
    return make_conversation(alice, messages=250, title="Long")


def test_shows_the_messages_in_order_with_what_is_known_of_the_conversation(browser, alice):
    conversation = make_conversation(
        alice, 3, title="Trains", model_used="qwen2.5:7b", metadata={"tenant": "acme"}
    )
    changes = {"pinned": True, "archived": True}
    update_conversation(conversation_id=conversation.pk, changes=changes, access=SCRIPT)
    page = read(browser, conversation)
    assert sequences(page) == [1, 2, 3]
    assert page.index("message 1") < page.index("message 2") < page.index("message 3")
    for shown in ("Trains", "alice", "qwen2.5:7b", "acme", "pinned", "archived", "UTC"):
        assert shown in page


def test_shows_tags_and_the_external_id(browser, alice):
    conversation = make_conversation(alice, 1, tags=["vip", "<i>"], external_id="ticket-7")
    html = browser.get(transcript_url(conversation)).content.decode()
    assert html.count('class="conversation-tag"') == 2
    assert "&lt;i&gt;" in html
    assert "ticket-7" in html
    plain = browser.get(transcript_url(make_conversation(alice, 1))).content.decode()
    assert "conversation-tag" not in plain
    assert "External id" not in plain


def test_roles_are_named(browser, alice):
    roles = ["system", "developer", "user", "assistant", "tool"]
    page = read(browser, said(alice, *(MessageDraft(role=role, content="x") for role in roles)))
    for role in roles:
        shown = "<bdi>alice</bdi>" if role == "user" else role.capitalize()
        assert re.search(rf"<article[^>]*is-{role}.*?</span>{shown}</h3>", page, re.S)


def test_pages_follow_one_another(browser, long):
    assert sequences(read(browser, long)) == list(range(1, 101))
    assert sequences(read(browser, long, after=100)) == list(range(101, 201))
    assert sequences(read(browser, long, after=200)) == list(range(201, 251))
    assert sequences(read(browser, long, before=201)) == list(range(101, 201))
    assert sequences(read(browser, long, before=51)) == list(range(1, 51))


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ({}, {"Next": "after=100", "Last": "after=200"}),
        (
            {"after": 100},
            {"First": "", "Previous": "before=101", "Next": "after=200", "Last": "after=200"},
        ),
        ({"after": 200}, {"First": "", "Previous": "before=201"}),
        ({"after": 999}, {"First": "", "Last": "after=200"}),
    ],
)
def test_links_to_other_pages(browser, long, query, there):
    response = browser.get(transcript_url(long), query)
    links = {
        label: url.removeprefix(transcript_url(long)).lstrip("?")
        for label, _icon, url in response.context["pages"]
        if url is not None
    }
    assert links == there


def test_a_short_conversation_has_no_page_links(browser, alice):
    page = read(browser, make_conversation(alice, 3))
    assert "Pages of messages" not in page
    assert "Go to message #" not in page


@pytest.mark.parametrize(
    ("wanted", "address"),
    [
        ("4", "after=0#m-4"),
        ("100", "after=0#m-100"),
        ("101", "after=100#m-101"),
        ("99999999999999", "after=200#m-250"),
        ("0", "after=0#m-1"),
        ("x", "after=0#m-1"),
    ],
)
def test_jump_leads_to_the_page_and_the_anchor(browser, long, wanted, address):
    response = browser.get(transcript_url(long), {"at": wanted})
    assert response.status_code == 302
    assert response["Location"] == f"{transcript_url(long)}?{address}"


@pytest.mark.parametrize("text", ["-5", "x", "", "99999999999999999999999", "١"])
def test_an_impossible_sequence_is_no_server_error(browser, long, text):
    for name in ("after", "before", "at"):
        assert browser.get(transcript_url(long), {name: text}, follow=True).status_code == 200


def test_the_way_back_keeps_the_lists_filters(browser, long):
    kept = "owner=alice&pinned=yes"
    page = read(browser, long, _changelist_filters=kept)
    assert 'href="/admin/conversations/conversation/?owner=alice&amp;pinned=yes"' in page
    assert "?after=100&amp;_changelist_filters=owner%3Dalice%26pinned%3Dyes" in page


def test_says_where_messages_were_deleted(browser, alice):
    conversation = make_conversation(alice, 6)
    for message in Message.objects.filter(sequence__in=[1, 4, 5]):
        delete_message(conversation_id=conversation.pk, message_id=message.id, access=SCRIPT)
    page = read(browser, conversation)
    assert sequences(page) == [2, 3, 6]
    assert page.count("deleted here") == 2
    assert "1 message deleted here" in page
    assert "2 messages deleted here" in page


def test_an_empty_conversation_says_so(browser, alice):
    assert "No messages yet" in read(browser, make_conversation(alice))


@pytest.mark.parametrize("count", [10, 5_000])
def test_any_length_costs_the_same_number_of_queries(browser, alice, statements, count):
    """Session, user, two for permissions, which messages, whose conversation, the record, the
    conversation, its ends, its messages, their reviews, the totals, and the newer and the older
    conversation of this owner. On a cluster one statement more asks whose it is."""
    conversation = make_conversation(alice, count)
    for query in ({}, {"after": count // 2}, {"before": count}):
        with statements() as seen:
            read(browser, conversation, **query)
        assert len(seen) == 14 + is_distributed()
        assert not [sql for sql in seen if "OFFSET" in sql or "COUNT" in sql]


def test_a_deep_page_is_read_through_the_index_of_sequences(alice):
    conversation = make_conversation(alice, 2_000)
    messages = Message.objects.of(conversation.user_id, conversation.pk)
    page = messages.filter(sequence__gt=1_500).in_order()[:PAGE_SIZE]
    analyze("conversations_message")
    assert "message_sequence_unique" in page.explain()


def test_html_is_text_wherever_it_stands(browser, db):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    call = {"id": evil, "function": {"name": evil, "arguments": f'{{"q": "{evil}"}}'}}
    conversation = said(
        make_user("<i>mallory</i>"),
        MessageDraft(role="user", content=evil, name=evil, metadata={evil: evil}),
        MessageDraft(role="assistant", tool_calls=[call], sources=[evil], model=evil),
        MessageDraft(role="tool", content=f'{{"a": "{evil}"}}', tool_call_id=evil),
        MessageDraft(role="tool", content=evil),
        MessageDraft(role="assistant", status="failed", error=evil, finish_reason="<b>"),
        title=evil,
        metadata={evil: evil},
    )
    Message.objects.filter(sequence=2).update(tool_calls=[call, evil])  # as older rows may have it
    page = read(browser, conversation)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for live in ("<script>alert", "<img src=x", "<i>mallory", "reason <b>"):
        assert live not in page


def test_each_message_keeps_its_direction_to_itself(browser, alice):
    page = read(browser, said(alice, MessageDraft(role="user", content="\u202edrow\nnext")))
    assert re.search('<div class="text" dir="auto"><code [^>]*>U.202E</code>drow\nnext</div>', page)


def test_white_space_stays_as_written(browser, alice):
    page = read(browser, said(alice, MessageDraft(role="assistant", content="  a\n\n\tb  ")))
    assert '<div class="text" dir="auto">  a\n\n\tb  </div>' in page


def test_tool_calls_and_results_are_folded_and_named(browser, alice):
    call = {"id": "call_7", "function": {"name": "find", "arguments": '{"city":"Zürich"}'}}
    page = read(
        browser,
        said(
            alice,
            MessageDraft(role="assistant", tool_calls=[call]),
            MessageDraft(role="tool", tool_call_id="call_7", content='[{"temperature": 21}]'),
        ),
    )
    assert page.count('<details class="collapsible"') == 2
    assert "<b>find</b> <code>call_7</code>" in page
    assert "{\n  &quot;city&quot;: &quot;Zürich&quot;\n}" in page
    assert "Answers the call <code>call_7</code>" in page
    assert "[\n  {\n    &quot;temperature&quot;: 21\n  }\n]" in page


@pytest.mark.parametrize(
    "call",
    [None, 7, "text", [], {}, {"function": None}, {"function": {"name": None, "arguments": {}}}],
)
def test_tool_calls_of_any_form_are_shown(browser, alice, call):
    chat = said(alice, MessageDraft(role="assistant", tool_calls=[{}]))
    Message.objects.update(tool_calls=[call, call])  # as older rows may have it
    page = read(browser, chat)
    assert page.count("Tool call") == 2


@pytest.mark.parametrize("content", ["[" * 15_000, "1" * 6_000, '{"a": NaN}', "", "null"])
def test_any_result_of_a_tool_is_shown(browser, alice, content):
    assert sequences(read(browser, said(alice, MessageDraft(role="tool", content=content)))) == [1]


@pytest.mark.parametrize("status", ["failed", "interrupted", "stopped", "streaming"])
def test_unfinished_answers_are_marked_in_words(browser, alice, status):
    draft = MessageDraft(role="assistant", status=status, error="The provider answered 500.")
    page = read(browser, said(alice, draft))
    assert re.search(rf'<span class="status[^"]*">{status.capitalize()}</span>', page)
    assert "The provider answered 500." in page


def test_what_is_known_of_an_answer_stands_below_it(browser, alice):
    draft = MessageDraft(
        role="assistant",
        content="x",
        provider="ollama",
        model="qwen2.5",
        prompt_tokens=1_200,
        completion_tokens=33,
        latency_ms=1_850,
        first_token_ms=210,
        rating=-1,
    )
    page = read(browser, said(alice, draft))
    for fact in (
        "ollama qwen2.5 · 1,200 tokens in · 33 tokens out · first token 0.21 s",
        "duration 1.9 s",
        "Owner rating: bad",
    ):
        assert fact in page


def test_a_very_long_message_is_cut_and_stands_whole_on_a_page_of_its_own(browser, alice):
    text = "ä" * CUT_AT + "the end of it"
    conversation = said(alice, MessageDraft(role="assistant", content=text))
    message = Message.objects.get()
    page = read(browser, conversation)
    assert "ä" * CUT_AT in page
    assert "the end of it" not in page
    assert f'href="?message={message.id}"' in page
    whole = read(browser, conversation, message=message.id)
    assert text in whole
    assert f"{transcript_url(conversation)}?after=0#m-1" in whole


def test_a_text_of_exactly_the_limit_is_not_cut(browser, alice):
    page = read(browser, said(alice, MessageDraft(role="assistant", content="a" * CUT_AT)))
    assert "Truncated" not in page


def test_long_json_is_cut_too(browser, alice):
    draft = MessageDraft(role="user", content="x", parts=[{"data": "A" * CUT_AT + "END"}])
    conversation = said(alice, draft)
    page = read(browser, conversation)
    assert "Truncated after 20,000 characters" in page
    assert "the end of it" not in page
    assert "END" in read(browser, conversation, message=Message.objects.get().id)


@pytest.mark.parametrize("wanted", ["x", "", str(uuid.UUID(int=0))])
def test_no_such_message(browser, long, wanted):
    assert browser.get(transcript_url(long), {"message": wanted}).status_code == 404


def test_a_message_of_another_conversation_is_not_found(browser, long, bob):
    make_conversation(bob, 1)
    other = Message.objects.exclude(conversation=long).get()
    assert browser.get(transcript_url(long), {"message": other.id}).status_code == 404


@pytest.mark.parametrize("path", ["x", str(uuid.UUID(int=0)), "1"])
def test_no_such_conversation(browser, db, path):
    assert Conversation.objects.count() == 0
    assert browser.get(f"/admin/conversations/conversation/{path}/change/").status_code == 404
