"""The certificate of an erasure is downloaded from its entry in the audit log."""

import json
import re

import pytest

from conversations.models import AccessContext, AccessRecord
from conversations.services import erase_user
from conversations.services.erasure_certificate import certify
from conversations.tests.admin.conftest import signed_in, text_of
from conversations.tests.factories import make_conversation, make_staff, make_superuser, make_user

pytestmark = pytest.mark.django_db

LOG = "/admin/conversations/accessrecord/"


@pytest.fixture
def certificate():
    """Of the erasure of a user whose name and words are known."""
    person = make_user("zebedee")
    make_conversation(person, 2, title="Xylophone")
    access = AccessContext(None, reason="request of zebedee")
    return certify(erase_user(user_id=person.pk, access=access), access=access)


@pytest.fixture
def record(certificate):
    return AccessRecord.objects.get(detail__has_key="certificate")


@pytest.fixture
def auditor():
    return make_user("auditor", "view_accessrecord", is_staff=True)


def test_an_erasure_is_listed_with_its_certificate(certificate, record, auditor):
    page = text_of(signed_in(auditor).get(LOG))
    assert "User erased, with 1 conversation and 2 messages" in page
    (link,) = re.findall(r'href="([^"]*/certificate/)"', page)
    assert link == f"{LOG}{record.pk}/certificate/"
    assert link in text_of(signed_in(auditor).get(f"{LOG}{record.pk}/change/"))


def test_another_entry_has_no_certificate(certificate, auditor):
    erased = AccessRecord.objects.get(detail__erased=True)
    browser = signed_in(auditor)
    assert "/certificate/" not in text_of(browser.get(f"{LOG}{erased.pk}/change/"))
    assert browser.get(f"{LOG}{erased.pk}/certificate/").status_code == 404


def test_the_certificate_is_downloaded_and_names_nobody(certificate, record, auditor):
    response = signed_in(auditor).get(f"{LOG}{record.pk}/certificate/")
    assert response["Content-Type"] == "application/json"
    assert response["Content-Disposition"].startswith('attachment; filename="erasure-')
    shown = json.loads(response.content)
    assert shown == {name: value for name, value in certificate.items() if name != "name_digest"}
    for words in ("zebedee", "Xylophone", "message 1"):
        assert words not in response.content.decode()


def test_it_is_for_staff_who_may_view_the_audit_log(record, auditor, alice):
    url = f"{LOG}{record.pk}/certificate/"
    assert signed_in(auditor).get(url).status_code == 200
    assert signed_in(make_superuser()).get(url).status_code == 200
    assert signed_in(make_staff()).get(url).status_code == 403
    assert signed_in(alice).get(url).status_code == 302
    assert signed_in(auditor).post(url).status_code == 405


def test_nobody_gets_it_without_a_login(record, client):
    response = client.get(f"{LOG}{record.pk}/certificate/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")
