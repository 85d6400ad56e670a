import json
import os
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from django.contrib.auth.models import Group

from conversations.admin.username_urls import owner_url
from conversations.models import AccessRecord, Review
from conversations.services import SCRIPT, MessageDraft, append_drafts
from conversations.tests.admin.conftest import LIST, transcript_url
from conversations.tests.factories import make_conversation, make_user

# Where set, the pages of the README are written there.
IMAGES = os.environ.get("SCREENSHOTS")
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "find_booking", "arguments": '{"name": "Alice", "to": "Milano"}'},
}
RESULT = '{"booking": "XK4-711", "price": 84.5, "status": "cancelled by the operator"}'
ANSWER = """Yes. Booking **XK4-711** was cancelled by the operator:

| Item | Amount |
|------|-------:|
| Ticket | 84.50 CHF |

1. Open [the refund form](https://example.org/refund).
2. Enter the code `XK4-711`.

```python
def refund(price, cancelled):
    return price if cancelled else 0.0
```"""
SOURCES = [{"title": "Passenger rights", "score": 0.8731, "text": "Full price within 3 months."}]


@pytest.fixture
def chat(officer):
    conversation = make_conversation(make_user("alice"), title="Refund for a cancelled train")
    known = {"model": "llama3.2", "prompt_tokens": 212, "completion_tokens": 31}
    drafts = [
        MessageDraft(role="system", content="You are a helpful travel assistant."),
        MessageDraft(role="user", content="My train to Milano was cancelled.\nA refund?"),
        MessageDraft(role="assistant", content="I look it up.", tool_calls=[CALL], **known),
        MessageDraft(role="tool", tool_call_id="call_1", name="find_booking", content=RESULT),
        MessageDraft(
            role="assistant",
            content=ANSWER,
            sources=SOURCES,
            latency_ms=2_450,
            first_token_ms=210,
            rating=1,
            **known,
        ),
        MessageDraft(role="user", content="How long does it take?"),
        MessageDraft(
            role="assistant",
            content="It usually",
            status="failed",
            error="The provider answered 500.",
            latency_ms=15_300,
            **known,
        ),
    ]
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    return conversation


@pytest.fixture
def long_chat(chat):
    """The chat goes on to 5,000 messages."""
    roles = ("user", "assistant")
    drafts = [
        MessageDraft(role=roles[number % 2], content=f"message **{number}**\n\n- one\n- two")
        for number in range(8, 5_001)
    ]
    for start in range(0, len(drafts), 1_000):
        append_drafts(
            conversation_id=chat.pk,
            drafts=drafts[start : start + 1_000],
            from_client=False,
            access=SCRIPT,
        )
    chat.refresh_from_db()
    return chat


def test_staff_sign_in_with_the_form(chromium, live_server, officer):
    context = chromium.new_context(base_url=live_server.url)
    page = context.new_page()
    page.goto("/admin/login/")
    page.fill("#id_username", "officer")
    page.fill("#id_password", "pass-4711")
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")
    context.close()


def test_find_read_jump_export_and_the_trail_that_it_leaves(page, long_chat):
    page.goto(LIST)
    page.fill("#searchbar", '"cancelled by the operator"')
    page.press("#searchbar", "Enter")
    page.locator("#result_list mark").first.wait_for()
    page.click("#result_list .conversation-title")
    page.wait_for_url("**#m-5")
    assert page.locator("#m-5 mark").first.is_visible()

    call = page.locator("#m-3 details.collapsible:not(.review-form)")
    call.locator("pre").wait_for(state="hidden")
    call.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "Milano" in call.locator("pre").inner_text()
    page.click("#m-3 .answers a")
    assert page.url.endswith("#m-4")
    page.click("#m-4 .answers a")
    assert page.url.endswith("#m-3")

    page.fill("#jump", "4000")
    page.press("#jump", "Enter")
    page.wait_for_url("**#m-4000")
    page.locator("#m-4000").wait_for()
    top = page.evaluate("document.querySelector('#m-4000').getBoundingClientRect().top")
    assert 0 <= top < 900

    page.click(".menu summary")
    with page.expect_download() as download:
        page.click("button:has-text('JSON Lines')")
    line = json.loads(Path(download.value.path()).read_text())
    assert (line["title"], len(line["messages"])) == (long_chat.title, 5_000)

    page.goto("/admin/conversations/accessrecord/")
    listed = page.locator("#result_list").inner_text()
    for action in ("Export", "Read", "Search"):
        assert action in listed
    assert AccessRecord.objects.filter(action="export").get().conversation_id == long_chat.pk


def test_times_are_in_the_viewers_zone(page, chat):
    page.goto(transcript_url(chat))
    hour = chat.created_at.hour
    shown = page.locator("#m-1 time").get_attribute("title")
    assert f" {hour:02}:" not in shown
    assert "GMT+" in shown or "CE" in shown


PAGES = {
    "dashboard": lambda chat: "/admin/",
    "list": lambda chat: f"{LIST}?q=refund",
    "transcript": transcript_url,
    "owner": lambda chat: owner_url(chat.user.username),
    "export": lambda chat: f"{LIST}export/?q={chat.pk}",
    "trail": lambda chat: "/admin/conversations/accessrecord/",
    "users": lambda chat: "/admin/auth/user/",
    "user": lambda chat: f"/admin/auth/user/{chat.user.pk}/change/",
    "new user": lambda chat: "/admin/auth/user/add/",
    "password": lambda chat: f"/admin/auth/user/{chat.user.pk}/password/",
}


def test_nobody_is_kept_out(page, chat):
    """axe-core finds no violation of WCAG 2.2 level A or AA, in either colour scheme."""
    for name, path_of in PAGES.items():
        page.goto(path_of(chat))
        if name == "transcript":
            page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        page.wait_for_timeout(300)  # the theme fades some of its parts in
        assert faults_of(page) == [], name
        if IMAGES and name in ("dashboard", "list", "transcript"):
            shut = "document.querySelectorAll('.review-form, .menu').forEach(it => it.open = false)"
            page.evaluate(shut)
            for scheme in ("light", "dark"):
                show_in(page, scheme)
                page.screenshot(path=f"{IMAGES}/{name}-{scheme}.png", full_page=name != "list")
            show_in(page, "light")


def test_superusers_give_groups_and_permissions_without_a_mouse(page, officer):
    officer.is_superuser = True
    officer.save()
    clerk, group = make_user("clerk", is_staff=True), Group.objects.get(name="Support")
    page.goto(f"/admin/auth/user/{clerk.pk}/change/")
    page.get_by_label("Support", exact=True).focus()
    page.keyboard.press("Space")
    page.get_by_label("Can view message").focus()
    page.keyboard.press("Space")
    look(page, "user")
    page.click("button[name=_save]")
    page.wait_for_url("**/auth/user/")
    assert list(clerk.groups.all()) == [group]
    assert clerk.user_permissions.get().codename == "view_message"
    page.goto(f"/admin/auth/group/{group.pk}/change/")
    look(page, "group")


def test_a_visit_is_one_row_of_the_audit_log_that_opens(page, chat):
    for _ in range(3):
        page.goto(transcript_url(chat))
    page.goto("/admin/conversations/accessrecord/")
    assert page.locator("#result_list tbody tr").count() == 1
    look(page, "trail")
    page.click("text=3 reads since")
    page.locator("text=Group reads by visit").wait_for()
    assert page.locator("#result_list tbody tr").count() == 3


def faults_of(page):
    """What axe-core finds, and in the dark scheme too where the two differ: by the contrast."""
    page.evaluate(AXE_FILE_PATH.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    faults = violations(page, {"runOnly": tags})
    show_in(page, "dark")
    faults += violations(page, {"runOnly": {"type": "rule", "values": ["color-contrast"]}})
    show_in(page, "light")
    return faults


def violations(page, options):
    found = page.evaluate("options => axe.run(options)", options)
    return [
        (fault["id"], [(node["target"], node["failureSummary"]) for node in fault["nodes"][:4]])
        for fault in found["violations"]
    ]


def show_in(page, scheme):
    """As the page looks to somebody whose browser prefers this colour scheme."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate("is => document.documentElement.classList.toggle('dark', is)", scheme == "dark")
    page.wait_for_timeout(200)  # colours fade


def look(page, name):
    """At a page that somebody came to: no violation, nothing beside the screen, a picture."""
    page.wait_for_timeout(300)
    assert faults_of(page) == [], name
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
    for scheme in ("light", "dark") if IMAGES else ():
        show_in(page, scheme)
        page.screenshot(path=f"{IMAGES}/{name}-{scheme}.png", full_page=True)
    show_in(page, "light")


def test_reviews_holds_tokens_and_erasure(page, chat):
    odd = make_conversation(chat.user, title="Refund \u202etnirp eht\u202c for a train")
    text = "Is it **1\u200b00** or \u202e001\u202c?"
    append_drafts(
        conversation_id=odd.pk, drafts=[MessageDraft(role="user", content=text)], access=SCRIPT
    )

    page.goto(f"{transcript_url(chat)}#m-5")
    page.click("#m-5 .review-form summary")
    page.check("#m-5 input[name=score][value='-1']")
    page.fill("#m-5 input[name=labels]", "tone, facts")
    page.fill("#m-5 textarea", "The form is not named.\nSay which one.")
    look(page, "review-form")
    page.click("#m-5 button:has-text('Add review')")
    page.locator("#m-5 .review").wait_for()
    look(page, "reviewed")
    assert Review.objects.get().labels == ["tone", "facts"]

    page.click(".menu summary")
    page.click("text=Place legal hold")
    look(page, "hold")
    page.fill("#reason", "Case 2026-17")
    page.click("button:has-text('Place the hold')")
    page.locator(".held").wait_for()
    look(page, "held")

    page.goto(f"{LIST}?q=refund")
    look(page, "list-hidden")
    page.goto(transcript_url(odd))
    look(page, "transcript-hidden")

    page.goto(owner_url("alice"))
    look(page, "erase-held")
    make_user("a/../b")
    page.goto(owner_url("a/../b"))
    look(page, "erase")

    page.goto("/admin/conversations/apitoken/")
    page.goto("/admin/conversations/apitoken/add/")
    look(page, "token-form")
    page.fill("#id_user_id", "alice")
    page.fill("#id_name", "laptop")
    page.click("button:has-text('Create token')")
    page.locator("#token").wait_for()
    look(page, "token-made")
    page.goto("/admin/conversations/apitoken/")
    look(page, "tokens")


@pytest.mark.parametrize("width", [360, 768])
def test_narrow_screens_scroll_only_downwards(page, chat, width):
    page.set_viewport_size({"width": width, "height": 800})
    for name in ("dashboard", "list", "transcript", "owner"):
        page.goto(PAGES[name](chat))
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, name


HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 2'>",
    "<svg onload='window.hit = 3'><script>window.hit = 4</script></svg>",
    "[click](javascript:window.hit=5) <a href='javascript:window.hit=6'>x</a>",
    "![x](http://tracker.invalid/p.png) <iframe srcdoc='<script>top.hit=7</script>'></iframe>",
    "&lt;script&gt;window.hit=8&lt;/script&gt; &#x3C;script&#x3E;window.hit=9&#x3C;/script&#x3E;",
    "\u202eevil\u202c \u2066isolated \u202d",
    "a" + "\u0301\u0335\u0489" * 3_000,
    "x" * 100_000,
    "{{ 7 * 7 }} {% now 'Y' %} <div x-data x-init='window.hit = 10'>",
    "```html\n<script>window.hit = 11</script>\n```\n<style>*{display:none}</style>",
    "| <b onclick='window.hit=12'>t</b> |\n|-|\n| <math><mi xlink:href='javascript:hit=13'> |",
]


def test_hostile_content_is_inert(page, officer):
    evil = "<script>window.hit = 20</script><img src=x onerror='window.hit = 21'>"
    owner = make_user("mallory<img src=x onerror='window.hit = 22'>")
    conversation = make_conversation(owner, title=evil, metadata={evil: evil})
    drafts = [MessageDraft(role=role, content=text, name=evil[:60], model=evil)
              for text in HOSTILE for role in ("user", "assistant")]  # fmt: skip
    drafts += [
        MessageDraft(role="tool", tool_call_id=evil, content=f'{{"a": "{evil}"}}'),
        MessageDraft(role="assistant", tool_calls=[{"id": evil, "function": {"name": evil}}]),
        MessageDraft(role="assistant", status="failed", error=evil, sources=[{"title": evil}]),
    ]
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    for address in (
        LIST,
        f"{LIST}?q=script",
        "/admin/",
        transcript_url(conversation),
        f"{transcript_url(conversation)}?raw=1",
        f"{transcript_url(conversation)}?find=script",
        owner_url(owner.username),
    ):
        page.goto(address)
        page.wait_for_timeout(200)
        assert page.evaluate("window.hit") is None, address
    page.goto(transcript_url(conversation))
    for link in page.locator("#messages .is-laid-out a").all():
        assert not (link.get_attribute("href") or "").lower().startswith("javascript")
    assert page.locator("#messages img, #messages svg, #messages iframe").count() == 0


def test_a_megabyte_does_not_freeze_the_page(page, officer):
    conversation = make_conversation(make_user("alice"))
    texts = ["word " * 200_000, "y" * 1_000_000]
    drafts = [MessageDraft(role="assistant", content=text) for text in texts]
    append_drafts(conversation_id=conversation.pk, drafts=drafts, from_client=False, access=SCRIPT)
    page.goto(transcript_url(conversation))
    for number in (0, 1):
        page.goto(transcript_url(conversation))
        page.locator(".cut a").nth(number).click()
        page.wait_for_load_state()
        painted = page.evaluate(
            "() => new Promise(done => { const from = performance.now();"
            " requestAnimationFrame(() => setTimeout(() => done(performance.now() - from))) })"
        )
        assert painted < 1_000
