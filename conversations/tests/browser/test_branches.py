"""Answers regenerated and questions edited: every version is reached again, in a real browser."""

from itertools import pairwise

import pytest

from conversations.models import Message
from conversations.tests.admin.conftest import LIST, transcript_url
from conversations.tests.branched import PATHS, append, regenerated
from conversations.tests.browser.test_search_hits import seen
from conversations.tests.browser.test_staff import faults_of, look
from conversations.tests.factories import make_user

# From the newest branch back through the edits, then through the answers.
BACK = [(7, 12), (6, 10), (5, 8)], [(7, 7), (4, 6), (3, 5), (2, 4), (1, 3), (0, 2)]


@pytest.fixture
def chat(officer):
    return regenerated(make_user("alice"), title="Museums and trains")


def shown(page):
    """The sequences of the messages on the page, and the number of the branch that it names."""
    ids = page.locator("#messages .message").evaluate_all("all => all.map(it => it.id)")
    branch = page.locator("#branches b").inner_text()
    return [int(id_.removeprefix("m-")) for id_ in ids], int(branch.removeprefix("Branch "))


def is_at(page, number, sequence):
    page.wait_for_url(f"**branch={number}#m-{sequence}")
    page.wait_for_load_state("load")
    page.wait_for_timeout(100)
    assert shown(page) == (PATHS[number], number)
    assert seen(page, f"#m-{sequence} .version")


@pytest.mark.parametrize("versions", BACK)
def test_every_version_is_reached_by_link(page, chat, versions):
    page.goto(transcript_url(chat))
    assert shown(page) == (PATHS[7], 7)
    for (_, at), (number, before) in pairwise(versions):
        page.click(f"#m-{at} [data-version=previous]")
        is_at(page, number, before)
    assert page.locator(f"#m-{versions[-1][1]} [data-version=previous]").count() == 0
    for (_, at), (number, after) in pairwise(versions[::-1]):
        page.click(f"#m-{at} [data-version=next]")
        is_at(page, number, after)
    assert shown(page) == (PATHS[7], 7)


@pytest.mark.parametrize("versions", BACK)
def test_every_version_is_reached_by_the_keyboard(page, chat, versions):
    page.goto(transcript_url(chat))
    while page.evaluate("document.activeElement.id") != f"m-{versions[0][1]}":
        page.keyboard.press("j")
    for number, sequence in versions[1:]:
        page.keyboard.press("h")
        is_at(page, number, sequence)
    page.keyboard.press("h")  # there is none before the first
    is_at(page, *versions[-1])
    for number, sequence in versions[-2::-1]:
        page.keyboard.press("l")
        is_at(page, number, sequence)


def test_a_switch_is_reached_by_tab_and_keeps_the_focus(page, chat):
    page.goto(f"{transcript_url(chat)}?branch=4#m-6")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.version"):
            break
    for number, sequence in [(3, 5), (2, 4), (1, 3), (0, 2)]:
        assert page.evaluate("document.activeElement.dataset.version") == "previous"
        page.keyboard.press("Enter")
        is_at(page, number, sequence)
    # Of the first version no other link is left.
    assert page.evaluate("document.activeElement.dataset.version") == "next"
    page.keyboard.press("Enter")
    is_at(page, 1, 3)


def test_without_a_focus_the_first_version_in_view_is_switched(page, chat):
    page.goto(transcript_url(chat))
    page.keyboard.press("h")
    is_at(page, 4, 6)
    page.keyboard.press("?")
    assert "previous, next version" in page.locator("#shortcuts").inner_text().lower()


def test_a_version_is_shown_where_the_other_one_was(page, chat):
    for end in (13, 11):
        append(chat, "u", "A longer text.\n" * 80, Message.objects.get(sequence=end).id)
    page.goto(f"{transcript_url(chat)}?branch=7#m-12")
    page.wait_for_load_state("load")
    page.evaluate("scrollBy(0, -160)")
    top = page.locator("#m-12").bounding_box()["y"]
    page.click("#m-12 [data-version=previous]")
    page.wait_for_url("**branch=6#m-10")
    page.click("#m-10 [data-version=next]")
    page.wait_for_url("**branch=7#m-12")
    page.wait_for_load_state("load")
    page.wait_for_timeout(200)
    assert abs(page.locator("#m-12").bounding_box()["y"] - top) < 2


def test_the_links_work_without_the_script(page, chat):
    page.route("**/transcript.js", lambda route: route.fulfill(body=""))
    page.goto(transcript_url(chat))
    page.click("#m-7 [data-version=previous]")
    is_at(page, 4, 6)
    page.click("text=Show all branches")
    page.click("#branches li >> text=Branch 6")
    page.wait_for_url("**branch=6#m-10")
    assert shown(page) == (PATHS[6], 6)
    assert page.get_by_role("group", name="Version 2 of 3 of this message").is_visible()


def test_a_search_leads_to_the_branch_of_its_match(page, chat):
    page.goto(f"{LIST}?q=firenze")
    page.click("#result_list .snippet a")
    page.wait_for_url("**branch=3**#m-5")
    assert shown(page) == (PATHS[3], 3)
    page.fill("#find", "version")
    page.keyboard.press("Enter")
    page.locator(".findings li").first.wait_for()
    page.click(".findings li >> text=#3")
    page.wait_for_url("**branch=1**#m-3")
    page.keyboard.press("n")
    page.wait_for_url("**branch=2**#m-4")
    assert shown(page) == (PATHS[2], 2)


@pytest.mark.parametrize("width", [390, 1280])
def test_branches_are_accessible_at_any_width(page, chat, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{transcript_url(chat)}?branch=4")
    group = page.get_by_role("group", name="Version 5 of 6 of this message")
    assert group.get_by_role("link", name="Next version of message 6").is_visible()
    look(page, f"versions-{width}")
    page.click("text=Show all branches")
    look(page, f"branches-{width}")
    page.goto(f"{transcript_url(chat)}?branch=4&find=version")
    look(page, f"versions-found-{width}")
    page.keyboard.press("?")
    assert faults_of(page) == []
