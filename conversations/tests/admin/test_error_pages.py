import pytest
from django.contrib import admin
from django.test import Client

from conversations.tests.admin.conftest import LIST, text_of

ABSENT = f"{LIST}00000000-0000-0000-0000-000000000000/change/"


@pytest.mark.parametrize(
    ("address", "status", "title"),
    [
        ("/admin/auth/user/", 403, "Permission denied"),
        (ABSENT, 404, "Page not found"),
        ("/admin/nothing/", 404, "Page not found"),
        ("/nothing", 404, "Page not found"),
    ],
)
def test_an_error_of_staff_is_a_page_of_the_admin(browser, address, status, title):
    response = browser.get(address)
    assert response.status_code == status
    page = text_of(response)
    assert f"<h2>{title}</h2>" in page
    assert 'id="nav-sidebar"' in page
    assert 'href="/admin/">Open the dashboard' in page


def test_an_error_page_leads_back_to_where_somebody_came_from(browser):
    response = browser.get("/admin/auth/user/", HTTP_REFERER=f"http://testserver{LIST}")
    assert f'href="http://testserver{LIST}">Go back' in text_of(response)
    for elsewhere in ("https://example.org/", "javascript:alert(1)", ""):
        response = browser.get("/admin/auth/user/", HTTP_REFERER=elsewhere)
        assert "Go back" not in text_of(response)


def test_a_visitor_who_is_not_signed_in_gets_no_sidebar(db, client):
    page = text_of(client.get("/nothing"))
    assert 'id="nav-sidebar"' not in page
    assert "Sign in" in page


def test_a_form_that_has_expired_says_so(db, staff):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(staff)
    response = browser.post(f"{LIST}reason/", {"reason": "x"})
    assert response.status_code == 403
    assert "This form has expired" in text_of(response)
    signed_out = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"})
    assert signed_out.status_code == 403
    assert "This form has expired" in text_of(signed_out)


def test_a_defect_is_a_page_without_database_or_session(browser, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(admin.site, "each_context", fails)
    browser.raise_request_exception = False
    response = browser.get("/admin/")
    assert response.status_code == 500
    page = text_of(response)
    assert "<h1>Server error</h1>" in page
    assert "{%" not in page
    assert 'href="/admin/"' in page
    assert response["X-Request-ID"] in page


def test_errors_of_the_api_stay_json(browser):
    response = browser.get("/api/nothing")
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "not_found"
