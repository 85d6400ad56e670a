"""An address filters a list by what the list offers: nothing else of the tables can be guessed."""

import pytest
from django.contrib import admin

from conversations.admin.change_list import ListAdmin
from conversations.models import AccessRecord, Message
from conversations.services import SCRIPT, create_token
from conversations.tests.admin.conftest import LIST, signed_in
from conversations.tests.factories import make_conversation, make_user

GUESSES = [
    (LIST, "metadata__k__startswith", "z"),
    (LIST, "metadata__k", "nothing"),
    (LIST, "metadata__contains", "{}"),
    (LIST, "messages__content__contains", "message"),
    (LIST, "messages__content__regex", "^x"),
    (LIST, "title__regex", "^Z"),
    (LIST, "user__password__startswith", "x"),
    (LIST, "user__email", "nobody@example.org"),
    (LIST, "user__id__exact", "0"),
    (LIST, "id__in", "x"),
    (LIST, "pk", "x"),
    (LIST, "owner__startswith", "z"),
    ("/admin/auth/user/", "password__startswith", "x"),
    ("/admin/auth/user/", "conversations__title__startswith", "z"),
    ("/admin/auth/user/", "is_staff__exact", "1"),
    ("/admin/auth/user/", "api_tokens__digest__startswith", "x"),
    ("/admin/auth/group/", "user__password__startswith", "x"),
    ("/admin/auth/group/", "permissions__codename", "x"),
    ("/admin/conversations/apitoken/", "digest__startswith", "x"),
    ("/admin/conversations/apitoken/", "user__password__startswith", "x"),
    ("/admin/conversations/accessrecord/", "detail__query__startswith", "z"),
    ("/admin/conversations/accessrecord/", "staff_id", "0"),
]


@pytest.fixture
def lister(alice):
    """May see every list, and nothing of what was said."""
    views = ["view_conversation", "view_user", "view_group", "view_apitoken", "view_accessrecord"]
    make_conversation(alice, 2, title="Trains", metadata={"k": "value"})
    create_token(user=alice, access=SCRIPT)
    AccessRecord.objects.create(staff_name="x", action="search", detail={"query": "planes"})
    return signed_in(make_user("lister", *views, is_staff=True))


@pytest.mark.parametrize(("path", "name", "value"), GUESSES)
def test_a_guess_filters_nothing(lister, path, name, value):
    whole = lister.get(path).context["cl"].result_count
    response = lister.get(path, {name: value}, follow=True)
    assert response.status_code == 200
    assert response.context["cl"].result_count == whole


@pytest.mark.parametrize(("path", "name", "value"), GUESSES)
def test_no_list_allows_a_lookup_that_it_does_not_declare(path, name, value):
    model_admin = next(
        one for model, one in admin.site._registry.items() if f"/{model._meta.model_name}/" in path
    )
    assert not model_admin.lookup_allowed(name, value, None)


def test_every_list_of_the_site_declares_its_lookups():
    for model_admin in admin.site._registry.values():
        assert isinstance(model_admin, ListAdmin), model_admin
        assert type(model_admin).lookup_allowed is ListAdmin.lookup_allowed
        assert all(
            model_admin.lookup_allowed(n, "", None) for n in model_admin.declared_parameters()
        )


@pytest.mark.parametrize("order", ["metadata", "-user__password", "99", "x"])
def test_a_list_is_sorted_by_its_columns_alone(lister, alice, order):
    make_conversation(alice, title="Planes")
    shown = lister.get(LIST, {"o": ""}).context["cl"].result_list
    plain = [row.pk for row in shown]
    response = lister.get(LIST, {"o": order}, follow=True)
    assert response.status_code == 200
    assert [row.pk for row in response.context["cl"].result_list] == plain


def test_an_export_takes_no_undeclared_filter_either(alice):
    make_conversation(alice, 1, title="Trains")
    rights = ["view_conversation", "view_message", "export_conversation"]
    browser = signed_in(make_user("officer", *rights, is_staff=True))
    page = browser.get(f"{LIST}export/", {"messages__content__regex": "^zzz"})
    assert "Export 1 conversation?" in page.content.decode()
    assert Message.objects.count() == 1
