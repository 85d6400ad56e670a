"""Times, formulas, images and tool calls of a transcript, in a real browser."""

from itertools import pairwise

import pytest

from conversations.models import Message
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import transcript_url
from conversations.tests.browser.test_staff import CALL, RESULT, faults_of, look
from conversations.tests.factories import make_conversation, make_user

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FORMULAS = r"""With **efficiency** $\eta_1 * \eta_2$ it takes \(a_1 * b_1\):

$$E = \frac{m \cdot c \cdot \Delta T}{\eta_1 * \eta_2}
  - \sum_{i=1}^{n} w_i * x_i$$

\[
x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
\]

It costs $5, or $6 with *delivery*."""


@pytest.fixture
def chat(officer):
    conversation = make_conversation(make_user("alice"), title="A photo of the broken hub")
    images = [
        {"type": "text", "text": "See the light?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://images.invalid/hub.png"}},
        {"type": "input_image", "image_url": "data:image/svg+xml;base64,PHN2Zy8+"},
    ]
    known = {"model": "llama3.2", "prompt_tokens": 212, "completion_tokens": 31}
    other = CALL | {"id": "call_2"}
    drafts = [
        MessageDraft(role="user", content="See the light?", parts=images),
        MessageDraft(role="assistant", content="I look.", tool_calls=[CALL, other], **known),
        MessageDraft(role="tool", tool_call_id="call_1", name="find_booking", content=RESULT),
        MessageDraft(role="tool", tool_call_id="call_2", name="find_booking", content="none"),
        MessageDraft(role="assistant", content=FORMULAS, **known),
        MessageDraft(role="user", content="Thank you."),
    ]
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    for sequence, time in enumerate(
        ["08:00:00", "08:00:20", "08:00:30", "08:03:10", "08:03:20", "11:04:00"], start=1
    ):
        Message.objects.filter(sequence=sequence).update(created_at=f"2026-01-02T{time}Z")
    return conversation


def test_times_are_relative_and_shown_where_they_change(page, chat):
    page.goto(transcript_url(chat))
    times = page.locator("#messages .message > header time")
    shown = [text.replace("\xa0", " ") for text in times.all_inner_texts()]
    assert shown[0].endswith(" ago")
    assert (shown[3], shown[5]) == ("3 minutes later", "3 hours later")
    assert times.nth(5).get_attribute("title").startswith("2026-01-02 12:04:00 ")
    same = page.locator("#m-2 > header time")
    assert same.evaluate("it => getComputedStyle(it).opacity") == "0"
    page.hover("#m-2")
    assert same.evaluate("it => getComputedStyle(it).opacity") == "1"
    assert same.inner_text().startswith("2026-01-02 09:00:20 ")


def test_an_image_is_loaded_by_its_button_alone(page, chat):
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(transcript_url(chat))
    page.wait_for_load_state("networkidle")
    assert not [url for url in sent if "image=" in url or "invalid" in url or "data:image" in url]
    assert page.locator("#messages img").count() == 0

    button = page.get_by_role("button", name="Show image 1 (PNG)")
    button.focus()
    page.keyboard.press("Enter")
    image = page.get_by_role("img", name="Image 1 (PNG) of message 1")
    image.wait_for()
    page.wait_for_function("document.querySelector('.images img').naturalWidth === 1")
    assert faults_of(page) == []
    page.get_by_role("button", name="Hide image 1 (PNG)").click()
    assert page.locator("#messages img").count() == 0

    elsewhere = page.locator(".images a")
    assert elsewhere.get_attribute("href") == "https://images.invalid/hub.png"
    assert elsewhere.get_attribute("target") == "_blank"
    assert "noreferrer" in elsewhere.get_attribute("rel")
    assert "Image 3 cannot be shown" in page.locator(".images").inner_text()


def test_formulas_are_shown_as_they_were_written(page, chat):
    page.goto(transcript_url(chat))
    text = page.locator("#m-5 > .text")
    for line in FORMULAS.splitlines()[2:7]:
        assert line.strip() in text.inner_text()
    codes = text.locator("code").all_inner_texts()
    assert codes[:2] == [r"$\eta_1 * \eta_2$", r"\(a_1 * b_1\)"]
    assert text.locator("em").all_inner_texts() == ["delivery"]


def test_a_call_and_its_results_are_one_block_with_the_review_below_it(page, chat):
    page.goto(transcript_url(chat))
    boxes = [page.locator(f"#m-{number}").bounding_box() for number in (2, 3, 4)]
    assert len({(box["x"], box["width"]) for box in boxes}) == 1
    for above, below in pairwise(boxes):
        assert abs(above["y"] + above["height"] - below["y"]) < 2
    block = page.locator(".block")
    form = block.locator(".review-form")
    assert form.bounding_box()["y"] > boxes[-1]["y"] + boxes[-1]["height"] - 1
    form.locator("summary").click()
    form.locator("input[value='1']").check()
    form.get_by_role("button", name="Add review").click()
    page.wait_for_url("**#m-2")
    assert "Review: good" in page.locator(".block > .reviews").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_calls_images_and_formulas_are_accessible_at_any_width(page, chat, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(transcript_url(chat))
    page.get_by_role("button", name="Show image 1 (PNG)").click()
    page.wait_for_function("document.querySelector('.images img').complete")
    look(page, f"transcript-parts-{width}")
