"""Pictures of transcripts in the admin, by a headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page, sync_playwright

from conversations.services import find_or_create_user
from conversations.tests.browser.conftest import CHROMIUM, FLAGS


def photograph(url: str, conversations: list[dict[str, Any]], folder: Path) -> None:
    """One PNG for each conversation, named after its title."""
    folder.mkdir(parents=True, exist_ok=True)
    session = session_of_staff()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = signed_in(browser, url, session)
        for conversation in conversations:
            name = re.sub(r"\W+", "-", conversation["title"] or conversation["id"])
            file = folder / f"{name}.png"
            page.goto(url + transcript(conversation["id"]))
            page.wait_for_load_state("networkidle")
            page.screenshot(path=file, full_page=True)
            print(file)
        browser.close()


def session_of_staff() -> str:
    """The cookie of a new superuser's session."""
    user = find_or_create_user("officer")
    type(user).objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    user.refresh_from_db()
    client = Client()
    client.force_login(user)
    connection.close()
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def signed_in(browser: Browser, url: str, session: str) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
    return context.new_page()


def transcript(conversation: str) -> str:
    return reverse("admin:conversations_conversation_change", args=[conversation])
