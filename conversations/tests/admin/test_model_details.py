"""What the admin shows of a model's reasoning, counts and cost."""

import re
from decimal import Decimal

import pytest
from django.core.cache import cache

from conversations.models import UnstoredTurn
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import text_of, transcript_url
from conversations.tests.factories import make_conversation

REASONING = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "In short"}],
    "content": [
        {"type": "reasoning_text", "text": "Six by <b>seven</b>"},
        {"type": "reasoning_text", "text": "is forty-two"},
    ],
}
SUMMARY = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "In short"}]}
THINKING = {"type": "thinking", "thinking": "Anthropic thinks", "signature": "s"}
REDACTED = {"type": "redacted_thinking", "data": "ciphertext"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}


def said(owner, **columns):
    conversation = make_conversation(owner)
    draft = MessageDraft(role="assistant", content="The answer", **columns)
    append_drafts(conversation_id=conversation.pk, drafts=[draft], from_client=False, access=SCRIPT)
    return conversation


def message_on(browser, conversation, query=""):
    page = text_of(browser.get(transcript_url(conversation) + query))
    (message,) = re.findall(r"<article.*?</article>", page, re.S)
    return message


def blocks(message):
    """(label, whether it is open, text) of each block that folds."""
    found = re.findall(
        r'<details class="collapsible"( open)?>.*?collapsible-label">([^<]+)<'
        r".*?<pre[^>]*>(.*?)</pre>",
        message,
        re.S,
    )
    return [(label, bool(is_open), text) for is_open, label, text in found]


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ([REASONING], "Six by &lt;b&gt;seven&lt;/b&gt;\nis forty-two"),
        ([SUMMARY], "In short"),
        ([THINKING, REDACTED], "Anthropic thinks"),
        ([SUMMARY, THINKING], "In short\n\nAnthropic thinks"),
    ],
)
def test_reasoning_is_folded_before_the_answer(browser, alice, parts, shown):
    message = message_on(browser, said(alice, parts=parts))
    assert blocks(message) == [("Reasoning", False, shown)]
    assert message.index("<details") < message.index("The answer")
    # The button that copies an answer takes the element `text` alone.
    assert "<details" not in re.search(r'<div class="text.*?</div>', message, re.S)[0]


def test_other_parts_stay_a_block_of_their_own(browser, alice):
    message = message_on(browser, said(alice, parts=[THINKING, IMAGE, "text"]))
    (reasoning, _, _), (parts, _, text) = blocks(message)
    assert (reasoning, parts) == ("Reasoning", "Parts")
    assert "images.example" in text
    assert "Anthropic" not in text


@pytest.mark.parametrize(
    "extra",
    [
        {"reasoning_content": "They ask for rain."},
        {"choices": [{"message": {"reasoning": "They ask for rain.", "refusal": None}}]},
        {"data": {"additional_kwargs": {"reasoning_content": "They ask for rain."}}},
    ],
)
def test_reasoning_beside_the_parts_is_folded_too(browser, alice, extra):
    reasoning, _ = blocks(message_on(browser, said(alice, extra=extra)))
    assert reasoning == ("Reasoning", False, "They ask for rain.")


@pytest.mark.parametrize("parts", [[], [REDACTED], [{"type": "reasoning"}], ["x", 5, None], None])
def test_no_reasoning_is_no_block(browser, alice, parts):
    message = message_on(browser, said(alice, parts=parts))
    assert "Reasoning" not in message


def test_a_match_in_the_reasoning_does_not_unfold_it(browser, alice):
    conversation = said(alice, parts=[REASONING])
    message = message_on(browser, conversation, "?find=answer&hit=1")
    assert blocks(message)[0][:2] == ("Reasoning", False)


def test_long_reasoning_is_cut_and_whole_on_its_own_page(browser, alice):
    long = {"type": "thinking", "thinking": "thought " * 5_000}
    conversation = said(alice, parts=[long])
    message = message_on(browser, conversation)
    assert len(blocks(message)[0][2]) == 20_000
    assert "Show full message" in message
    key = conversation.messages.get().id
    assert len(blocks(message_on(browser, conversation, f"?message={key}"))[0][2]) == 40_000


def test_what_a_model_was_told_and_said_beyond_is_shown(browser, alice):
    extra = {"request": {"system": "Answer in Latin."}, "system_fingerprint": "fp_1"}
    ((label, _, text),) = blocks(message_on(browser, said(alice, extra=extra)))
    assert label == "Further fields"
    assert "Answer in Latin." in text
    assert "fp_1" in text


def test_counts_and_cost_are_shown_with_their_currency(browser, alice, settings):
    settings.CHAT_COST_CURRENCY = "EUR"
    conversation = said(
        alice,
        prompt_tokens=1_200,
        cached_tokens=800,
        completion_tokens=60,
        reasoning_tokens=40,
        cost=Decimal("0.00042"),
    )
    page = text_of(browser.get(transcript_url(conversation)))
    facts = "1,200 tokens in (800 cached) · 60 tokens out (40 reasoning) · 0.00042 EUR"
    assert facts in page
    assert "1,200 in (800 cached), 60 out (40 reasoning)" in page
    assert "<dt>Cost</dt><dd><bdi>0.00042 EUR</bdi></dd>" in page


@pytest.fixture
def fresh_figures():
    cache.clear()  # they are kept for a minute


@pytest.mark.usefixtures("fresh_figures")
def test_the_dashboard_has_the_cost_by_model_of_unstored_turns_too(browser, alice, settings):
    settings.CHAT_COST_CURRENCY = "EUR"
    said(alice, model="m1", cost=Decimal("1200.5"), prompt_tokens=1)
    said(alice, model="m2", prompt_tokens=1)
    page = text_of(browser.get("/admin/"))
    assert "Cost by model" in page
    UnstoredTurn.objects.create(
        user=alice, provider="", model="m1", status="complete", cost=1, prompt_tokens=5
    )
    page = text_of(browser.get("/admin/?days=7"))
    table = re.search(r"<h3>Cost by model</h3>.*?</table>", page, re.S)[0]
    assert "1,201.50" in table
    assert ">EUR</th>" in table
    assert "m2" not in table
    tokens = re.search(r"<h3>Tokens by model</h3>.*?</table>", page, re.S)[0]
    assert ">6</td>" in tokens


@pytest.mark.usefixtures("fresh_figures")
def test_without_any_cost_there_is_no_table_of_it(browser, alice):
    said(alice, model="m1", prompt_tokens=1)
    assert "Cost by model" not in text_of(browser.get("/admin/"))
