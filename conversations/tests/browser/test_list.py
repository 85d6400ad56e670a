"""Chips, drop-downs, saved views, deletion and the phone layout of the list, in a real browser."""

import pytest

from conversations.models import Conversation, SavedView
from conversations.services import SCRIPT, update_conversation
from conversations.tests.admin.conftest import LIST
from conversations.tests.browser.test_staff import look
from conversations.tests.factories import make_conversation, make_user

LONG_NAME = "an-owner-whose-name-is-longer-than-any-column-" * 3


@pytest.fixture
def chats(officer):
    alice = make_user("alice")
    chats = [
        make_conversation(
            alice if number % 2 else make_user(f"owner-{number}"),
            number % 7,
            title=title,
            model_used="qwen2.5:7b" if number % 3 else "llama3.2",
        )
        for number, title in enumerate(
            [
                "Refund for a cancelled train",
                "Change the date of a booking",
                "Une facture en double pour mon abonnement annuel et la question de la TVA " * 3,
                "Where is my luggage?",
                "Password does not work",
                "Compare two tariffs",
            ]
        )
    ]
    chats.append(make_conversation(make_user(LONG_NAME), 2, title="A long name"))
    changes = {"pinned": True, "archived": True}
    update_conversation(conversation_id=chats[0].pk, changes=changes, access=SCRIPT)
    return chats


def chips(page):
    return [text.split("\n")[0] for text in page.locator(".chip > span").all_inner_texts()]


def rows(page):
    return page.locator("#result_list tbody tr").count()


def test_a_filter_is_chosen_from_known_values_and_taken_off_by_its_chip(page, chats):
    page.goto(LIST)
    page.click("text=Filters")
    with page.expect_response("**/known-values/?filter=model&q="):
        page.focus("#id_model")
    page.wait_for_function("document.querySelector('#known-model').children.length")
    offered = page.eval_on_selector_all("#known-model option", "all => all.map(one => one.value)")
    assert offered == ["llama3.2", "qwen2.5:7b"]
    with page.expect_response("**/known-values/?filter=owner&q=ali"):
        page.locator("#id_owner").press_sequentially("ali", delay=20)
    page.wait_for_function("document.querySelector('#known-owner').children.length")
    page.fill("#id_owner", "alice")
    page.fill("#id_model", "qwen2.5:7b")
    look(page, "list-filters")
    page.click("text=Apply Filters")
    page.wait_for_url("**owner=alice**")
    assert chips(page) == ["Owner: alice", "Model: qwen2.5:7b"]
    found = rows(page)
    page.click(".chip:has-text('Model') a")
    page.wait_for_url(lambda url: "model" not in url)
    assert chips(page) == ["Owner: alice"]
    assert rows(page) > found
    page.click("text=Clear all")
    page.wait_for_url(lambda url: "owner" not in url)
    assert rows(page) == len(chats)


def test_a_view_is_saved_found_and_deleted(page, chats):
    page.goto(f"{LIST}?owner=alice&o=-3")
    page.click("text=Save view")
    page.fill("#view-name", "Alice, longest first")
    look(page, "list-save-view")
    page.click(".save-view button")
    page.locator(".saved-views").wait_for()
    page.goto(LIST)
    page.click("text=Alice, longest first")
    page.wait_for_url("**owner=alice**")
    assert chips(page) == ["Owner: alice"]
    current = page.locator(".saved-views [aria-current]")
    assert current.inner_text() == "Alice, longest first"
    look(page, "list-saved-view")
    page.click("text=Delete this view")
    page.wait_for_function("!document.querySelector('.saved-views')")
    assert not SavedView.objects.exists()


def test_deleting_returns_to_the_same_list(page, chats):
    page.goto(f"{LIST}?owner=alice&o=1")
    page.click("#result_list .conversation-title")
    page.locator(".bar").wait_for()
    page.click(".menu summary")
    page.click("text=Delete…")
    page.fill("#reason", "asked for by the owner")
    page.click("button.is-danger")
    page.wait_for_url("**owner=alice&o=1")
    assert "Conversation deleted." in page.locator("body").inner_text()
    assert rows(page) == 2

    page.check(".action-toggle")
    page.uncheck("#result_list tbody tr:nth-child(2) .action-select")
    page.select_option("select[name=action]", "delete_selected")
    page.click("text=Run")
    page.fill("#reason", "asked for by the owner")
    page.click("button.is-danger")
    page.wait_for_url("**owner=alice&o=1")
    assert rows(page) == 1
    assert Conversation.objects.count() == len(chats) - 2


@pytest.mark.parametrize("width", [390, 1440])
def test_rows_fit_the_screen(page, chats, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(LIST)
    look(page, f"rows-{width}")
    inside = page.evaluate(
        """() => [...document.querySelectorAll('#result_list tbody td')].every(cell =>
            cell.getBoundingClientRect().right <= innerWidth)"""
    )
    assert inside
    name = page.locator(f"[title='{LONG_NAME}']").first
    assert name.evaluate("it => it.scrollWidth > it.clientWidth")
    page.goto(f"{LIST}?q=alice&pinned=no&model=qwen2.5:7b")
    assert "alice" in page.locator(".owners-found").inner_text()
    look(page, f"found-{width}")
    page.goto(f"{LIST}?q=nothing-like-it")
    look(page, f"none-{width}")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_other_lists_fit_the_screen_too(page, chats, width):
    page.set_viewport_size({"width": width, "height": 844})
    for model in ("conversations/accessrecord", "conversations/apitoken", "auth/user"):
        page.goto(f"/admin/{model}/")
        look(page, f"{model.replace('/', '-')}-{width}")
