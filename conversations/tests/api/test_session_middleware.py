"""Requests with a token have no session; those of a browser have one, as before."""

import pytest
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client, RequestFactory
from rest_framework.test import APIClient

from conversations.api.session_middleware import (
    AuthenticationMiddleware,
    CsrfViewMiddleware,
    MessageMiddleware,
    SessionMiddleware,
)
from conversations.tests.factories import client_for, make_superuser, make_token

pytestmark = pytest.mark.django_db
ME, LIST = "/api/me", "/api/conversations"


@pytest.fixture
def browser(alice):
    """Alice's, which is asked for the CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    return client


def passed(path, **headers):
    """The request as a view gets it."""
    seen = []

    def view(request):
        seen.append(request)
        return HttpResponse()

    for middleware in (MessageMiddleware, AuthenticationMiddleware, CsrfViewMiddleware):
        view = middleware(view)
    SessionMiddleware(view)(RequestFactory().get(path, headers=headers))
    return seen[0]


@pytest.mark.parametrize("path", [LIST, "/v1/conversations"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token"])
def test_a_request_with_a_token_has_neither_session_nor_messages(scheme, path):
    request = passed(path, Authorization=f"{scheme} x")
    assert not hasattr(request, "session")
    assert not hasattr(request, "user")
    assert list(get_messages(request)) == []


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (LIST, {}),
        (LIST, {"Authorization": "Basic x"}),
        (LIST, {"Authorization": ""}),
        ("/admin/", {"Authorization": "Bearer x"}),
    ],
)
def test_others_have_both(path, headers):
    request = passed(path, **headers)
    assert request.session.is_empty()
    assert request.user.is_anonymous


def test_a_session_is_read_without_a_token_and_writes_with_the_csrf_token_alone(browser):
    assert browser.get(ME).json()["user_id"] == "alice"
    assert browser.get(ME, headers={"Authorization": "Basic x"}).status_code == 200
    new = {"data": "{}", "content_type": "application/json"}
    assert browser.post(LIST, **new).status_code == 403
    browser.cookies["csrftoken"] = "a" * 32
    assert browser.post(LIST, **new, headers={"X-CSRFToken": "a" * 32}).status_code == 201


def test_a_token_counts_and_not_the_session_beside_it(browser, bob, statements):
    headers = {"Authorization": f"Bearer {make_token(bob)}"}
    with statements() as seen:
        answer = browser.get(ME, headers=headers)
    assert answer.json()["user_id"] == "bob"
    assert "Cookie" not in answer.get("Vary", "")
    assert len(seen) == 1
    new = {"data": "{}", "content_type": "application/json"}
    assert browser.post(LIST, **new, headers=headers).status_code == 201
    assert browser.get(ME, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_pages_of_staff_do_not_care_about_a_token(bob):
    client = Client()
    client.force_login(make_superuser())
    headers = {"Authorization": f"Bearer {make_token(bob)}"}
    assert client.get("/admin/", headers=headers).status_code == 200
    assert Client().get("/admin/", headers=headers).status_code == 302


def test_an_unknown_route_and_the_documentation_with_a_token(alice):
    client = client_for(alice)
    assert client.get("/api/nothing").status_code == 404
    for path in ("/api/schema", "/api/docs"):
        assert client.get(path).status_code == APIClient().get(path).status_code == 200
