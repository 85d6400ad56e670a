import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation
from conversations.services.bootstrap import SAMPLE_FILE, create_admin, find_admin, load_sample

pytestmark = pytest.mark.django_db


def test_the_administrator_ends_the_first_run_and_can_log_in():
    assert find_admin() is None
    password = create_admin()
    assert find_admin() == "admin"
    admin = User.objects.get(username="admin")
    assert admin.is_superuser
    assert admin.is_staff
    assert admin.check_password(password)
    assert len(password) >= 16
    assert password not in admin.password


def test_a_renamed_administrator_is_still_one():
    create_admin()
    User.objects.update(username="root")
    assert find_admin() == "root"


def test_an_ordinary_user_named_admin_is_not_promoted():
    User.objects.create_user("admin")
    assert create_admin() is None
    assert not User.objects.get().is_superuser


def test_the_sample_belongs_to_its_own_user_and_is_loaded_once():
    report = load_sample()
    assert (report.created, report.rejected) == (20, [])
    assert load_sample().created == 0
    assert set(Conversation.objects.values_list("user__username", flat=True)) == {"sample"}


def test_the_sample_names_its_licence():
    text = (SAMPLE_FILE.parent / "SOURCES.md").read_text()
    assert SAMPLE_FILE.name in text
    assert "CC BY-SA 4.0" in text
