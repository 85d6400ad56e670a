"""Images and times of the messages in a transcript."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import text_of, transcript_url
from conversations.tests.factories import make_conversation

BYTES = b"\x89PNG\r\n\x1a\n" + bytes(30_000)
STORED = "data:image/png;base64," + base64.b64encode(BYTES).decode()
ELSEWHERE = "https://images.example/a.png?size=1&sign=x"


def said(owner, *drafts, **fields):
    conversation = make_conversation(owner, **fields)
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.fixture
def photo(alice):
    parts = [
        {"type": "text", "text": "Look"},
        image(STORED),
        {"type": "input_image", "image_url": ELSEWHERE},
        image("data:image/svg+xml;base64,PHN2Zy8+"),
        image("javascript:alert(1)"),
        {"type": "image_url"},
        image("data:image/png;base64,not base64"),
    ]
    return said(alice, MessageDraft(role="user", content="Look", parts=parts))


def test_an_image_is_a_link_and_nothing_of_it_is_loaded(browser, photo):
    page = text_of(browser.get(transcript_url(photo)))
    (message,) = re.findall(r"<article.*?</article>", page, re.S)
    images = re.search(r'<ul class="images".*?</ul>', message, re.S)[0]
    key = Message.objects.get().id
    assert re.findall('href="([^"]+)"', images) == [
        f"?message={key}&amp;image=1",
        ELSEWHERE.replace("&", "&amp;"),
        f"?message={key}&amp;image=6",
    ]
    assert images.count("cannot be shown") == 3
    assert "<img" not in message


def test_a_stored_image_is_served_and_leaves_a_record(browser, photo):
    key = Message.objects.get().id
    response = browser.get(transcript_url(photo), {"message": key, "image": 1})
    assert response.content == BYTES
    assert response["Content-Type"] == "image/png"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "img-src 'self' data:" in response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]
    record = AccessRecord.objects.get()
    assert (record.action, record.detail) == ("read", {"message": str(key), "image": 1})


@pytest.mark.parametrize("number", ["0", "2", "3", "4", "5", "6", "7", "x", ""])
def test_nothing_but_a_stored_image_is_served(browser, photo, number):
    key = Message.objects.get().id
    response = browser.get(transcript_url(photo), {"message": key, "image": number})
    assert response.status_code == 404


def test_an_image_of_another_conversation_is_not_found(browser, photo, bob):
    other = make_conversation(bob, 1)
    key = photo.messages.get().id
    assert browser.get(transcript_url(other), {"message": key, "image": 1}).status_code == 404
    assert browser.get(transcript_url(photo), {"image": 1}).status_code == 404


def times_of(browser, conversation, **query):
    page = text_of(browser.get(transcript_url(conversation), query)).replace("\xa0", " ")
    return re.findall(r'<time datetime="[^"]+"(?: title="[^"]+"| class="is-same")>([^<]+)<', page)


def test_times_count_from_the_time_shown_above(browser, alice):
    conversation = make_conversation(alice, 6)
    first = datetime(2026, 1, 2, 8, tzinfo=UTC)
    for sequence, seconds in enumerate([0, 40, 70, 100, 7_300, 60], start=1):
        at = first + timedelta(seconds=seconds)
        Message.objects.filter(sequence=sequence).update(created_at=at)
    shown = times_of(browser, conversation)
    assert shown[0].endswith(" ago")
    assert shown[1:] == [
        "2026-01-02 08:00:40 UTC",
        "1 minute later",
        "2026-01-02 08:01:40 UTC",
        "2 hours later",
        "2 hours earlier",
    ]
    raw = times_of(browser, conversation, raw="1")
    assert raw[0] == "2026-01-02 08:00:00 UTC"
    assert raw[4] == "2026-01-02 10:01:40 UTC"


def test_a_time_of_this_minute_is_just_now(browser, alice):
    assert times_of(browser, make_conversation(alice, 1)) == ["just now"]
