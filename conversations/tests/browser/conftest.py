"""A real browser: Debian's Chromium, or whichever CHROMIUM names. Without one, skipped loudly."""

import os
import shutil

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client

from conversations.services.groups import ensure_groups
from conversations.tests.factories import make_user

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
ABSENT = "NO BROWSER: the browser tests do not run. Install one: apt-get install chromium"
# It must not look for updates or other hosts: the tests run without a network.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail(ABSENT)
        pytest.skip(ABSENT)
    from playwright.sync_api import sync_playwright

    # Playwright's loop makes Django take every later test of this process for asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
    os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


@pytest.fixture
def officer(transactional_db):
    """An administrator, by the ready group."""
    ensure_groups()
    user = make_user("officer", is_staff=True, password="pass-4711")
    user.groups.add(Group.objects.get(name="Administrators"))
    return user


@pytest.fixture
def page(chromium, live_server, officer):
    """Signed in; fails the test for any error on the console or any request to elsewhere."""
    context = chromium.new_context(
        base_url=live_server.url,
        color_scheme="light",
        timezone_id="Europe/Zurich",
        viewport={"width": 1280, "height": 900},
    )
    page, faults = context.new_page(), []
    page.set_default_timeout(15_000)
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            None if sent.url.startswith((live_server.url, "data:")) else faults.append(sent.url)
        ),
    )
    sign_in(context, officer)
    yield page
    context.close()
    assert faults == []


def sign_in(context, user):
    """With a session of the server's; `test_staff.py` fills in the form once."""
    client = Client()
    client.force_login(user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies(
        [
            {
                "name": settings.SESSION_COOKIE_NAME,
                "value": session,
                "domain": "localhost",
                "path": "/",
            }
        ]
    )
