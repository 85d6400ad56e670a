"""Search hits, the bar, copying and the keyboard, in a real browser."""

import pytest

from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import LIST, transcript_url
from conversations.tests.browser.test_staff import RESULT, faults_of, look
from conversations.tests.factories import make_conversation, make_user


@pytest.fixture
def chat(officer):
    """40 messages; `cancelled` is in the tool results 4 and 30 alone, far down in the second."""
    conversation = make_conversation(make_user("alice"), title="Refund for a cancelled train")
    call = {"id": "c", "function": {"name": "find_booking", "arguments": '{"name": "Alice"}'}}
    results = {4: RESULT, 30: '{"lines": [' + "1, " * 200 + '"cancelled"]}'}
    drafts = []
    for number in range(1, 41):
        if number + 1 in results:
            drafts.append(MessageDraft(role="assistant", tool_calls=[call]))
        elif number in results:
            drafts.append(MessageDraft(role="tool", tool_call_id="c", content=results[number]))
        else:
            wide = "|" + " a column |" * 30 + "\n|" + "-|" * 30 + "\n|" + " word |" * 30
            text = wide if number == 6 else f"**message** {number}"
            drafts.append(MessageDraft(role="user" if number % 2 else "assistant", content=text))
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


def seen(page, selector):
    """Whether it is on the screen, and not under the bar."""
    return page.evaluate(
        """selector => {
            const {top, bottom} = document.querySelector(selector).getBoundingClientRect();
            const bar = document.querySelector(".bar").getBoundingClientRect();
            return top >= bar.bottom && bottom <= innerHeight && bar.top >= 0;
        }""",
        selector,
    )


def test_a_hit_inside_a_tool_result_is_opened_marked_and_led_on_from(page, chat):
    page.goto(f"{LIST}?q=cancelled")
    page.locator("#result_list .snippet mark").first.wait_for()
    page.click("#result_list .snippet a")
    page.wait_for_url("**#m-30")
    page.wait_for_function("document.querySelector('#m-30 mark')")
    page.wait_for_timeout(200)
    assert seen(page, "#m-30 mark")
    assert "2 of 2" in page.locator(".bar-hits").inner_text()

    page.keyboard.press("p")
    page.wait_for_url("**#m-4")
    page.wait_for_timeout(200)
    assert "1 of 2" in page.locator(".bar-hits").inner_text()
    assert seen(page, "#m-4 mark")
    assert faults_of(page) == []
    page.click("[data-hit=next]")
    page.wait_for_url("**#m-30")
    page.click("text=Clear")
    page.locator(".bar-hits").wait_for(state="detached")


def test_the_keyboard_moves_searches_and_helps(page, chat):
    page.goto(transcript_url(chat))
    for _ in range(3):
        page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.id")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.id") == f"m-{int(focused[2:]) - 1}"

    page.keyboard.press("?")
    assert page.locator("#shortcuts").is_visible()
    assert faults_of(page) == []
    page.keyboard.press("Escape")
    assert not page.locator("#shortcuts").is_visible()

    page.keyboard.press("/")
    page.keyboard.type("j?k/np")
    assert page.input_value("#find") == "j?k/np"
    assert not page.locator("#shortcuts").is_visible()
    page.fill("#find", "booking")
    page.keyboard.press("Enter")
    page.locator(".findings li").first.wait_for()
    assert page.locator(".findings li mark").count() >= page.locator(".findings li").count()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_bar_stays_and_nothing_is_wider_than_the_screen(page, chat, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{transcript_url(chat)}?find=cancelled&at=30")
    page.wait_for_timeout(300)
    look(page, f"hit-{width}")
    assert page.evaluate("document.querySelector('.bar').getBoundingClientRect().top") >= 0
    page.click(".menu summary")
    assert faults_of(page) == []
    page.keyboard.press("Escape")
    assert not page.locator(".menu-body").is_visible()
    assert page.evaluate("document.activeElement.textContent") == "Actions"
    table = page.locator("#m-6 table")
    assert table.get_attribute("tabindex") == "0"
    # It scrolls, with its words whole.
    assert table.locator("td").first.bounding_box()["height"] < 40


def test_text_and_blocks_are_copied(page, chat):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(transcript_url(chat))
    button = page.get_by_role("button", name="Copy the text of message 2", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == "message 2"


def test_a_permanent_link_leads_to_the_message(page, chat):
    page.goto(transcript_url(chat))
    page.click("#m-40 .sequence")
    page.wait_for_url("**#m-40")
    assert seen(page, "#m-40")
