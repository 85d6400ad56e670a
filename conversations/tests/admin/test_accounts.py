"""Who changes whose account: nobody gives themselves or others more rights than they have."""

import pytest
from django.contrib.auth.models import Group, Permission, User

from conversations.models import AccessRecord, Conversation
from conversations.services.groups import ensure_groups
from conversations.tests.admin.conftest import LIST, grant, signed_in, text_of
from conversations.tests.factories import make_conversation, make_user

USERS = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"
NEW = {"password1": "longer-than-8", "password2": "longer-than-8", "usable_password": "true"}


@pytest.fixture
def administrator(db):
    ensure_groups()
    user = make_user("administrator", is_staff=True)
    user.groups.add(Group.objects.get(name="Administrators"))
    return user


@pytest.fixture
def admins(administrator):
    return signed_in(administrator)


def change_url(user):
    return f"{USERS}{user.pk}/change/"


def form_of(user, **changes):
    """What the form sends for this account as it is, and what is forged into it."""
    dates = {
        "date_joined_0": user.date_joined.strftime("%Y-%m-%d"),
        "date_joined_1": user.date_joined.strftime("%H:%M:%S"),
    }
    names = ("username", "email", "first_name", "last_name")
    return {name: getattr(user, name) for name in names} | dates | {"is_active": "on"} | changes


def may_change(browser, user):
    """Whether the e-mail of an account comes out as it was sent."""
    browser.post(change_url(user), form_of(user, email="new@example.org"))
    user.refresh_from_db()
    return user.email == "new@example.org"


@pytest.mark.parametrize("path", [USERS, GROUPS, "/admin/"])
def test_pages_open(root, alice, path):
    assert root.get(path).status_code == 200


@pytest.mark.parametrize("path", [f"{USERS}add/", f"{GROUPS}add/"])
def test_a_superuser_adds_users_and_groups(root, path):
    assert root.get(path).status_code == 200


def test_a_user_can_be_added_and_changed(root):
    root.post(f"{USERS}add/", NEW | {"username": "carol"})
    carol = User.objects.get(username="carol")
    assert carol.check_password("longer-than-8")
    assert root.get(change_url(carol)).status_code == 200
    assert root.get(f"{USERS}{carol.pk}/password/").status_code == 200
    assert may_change(root, carol)


def test_administrators_change_accounts_within_their_rights(admins, alice):
    assert admins.get(change_url(alice)).status_code == 200
    assert may_change(admins, alice)
    support = make_user("helper", "view_conversation", is_staff=True)
    assert may_change(admins, support)


@pytest.mark.parametrize("flag", ["is_superuser", "is_staff"])
def test_only_a_superuser_sets_flags(admins, root, administrator, alice, flag):
    for user in (administrator, alice):
        was = getattr(user, flag)
        for value in ("on", ""):
            admins.post(change_url(user), form_of(user, **{flag: value}))
            user.refresh_from_db()
            assert getattr(user, flag) == was
    root.post(change_url(alice), form_of(alice, **{flag: "on"}))
    alice.refresh_from_db()
    assert getattr(alice, flag)


def test_only_a_superuser_gives_single_permissions(admins, root, administrator, alice):
    permission = Permission.objects.get(codename="view_conversation")
    for user in (administrator, alice):
        admins.post(change_url(user), form_of(user, user_permissions=permission.pk))
        assert not user.user_permissions.exists()
    root.post(change_url(alice), form_of(alice, user_permissions=permission.pk))
    assert alice.user_permissions.get() == permission


def test_a_group_is_given_by_those_who_have_all_that_it_grants(admins, administrator, alice):
    strong = Group.objects.create(name="Strong")
    strong.permissions.set(Permission.objects.filter(codename="change_group"))
    offered = text_of(admins.get(change_url(alice))).split()
    assert "Support" in offered
    assert "Strong" not in offered
    for user in (administrator, alice):
        before = set(user.groups.all())
        admins.post(change_url(user), form_of(user, groups=strong.pk))
        assert set(user.groups.all()) == before
    support = Group.objects.get(name="Support")
    admins.post(change_url(alice), form_of(alice, groups=support.pk))
    assert alice.groups.get() == support


@pytest.mark.parametrize("kind", ["superuser", "stronger", "in a stronger group", "deactivated"])
def test_an_account_with_more_rights_is_not_touched(admins, superuser, kind):
    boss = superuser if kind == "superuser" else make_user("boss", is_staff=True)
    if kind == "stronger":
        grant(boss, "change_group")
    if kind in ("in a stronger group", "deactivated"):
        strong = Group.objects.create(name="Strong")
        strong.permissions.set(Permission.objects.filter(codename="change_group"))
        boss.groups.add(strong)
    if kind == "deactivated":
        User.objects.filter(pk=boss.pk).update(is_active=False)
    before = User.objects.filter(pk=boss.pk).values().get()
    password = NEW | {"set-password": "1"}
    assert admins.post(change_url(boss), form_of(boss, email="x@example.org")).status_code == 403
    assert admins.get(f"{USERS}{boss.pk}/password/").status_code == 403
    assert admins.post(f"{USERS}{boss.pk}/password/", password).status_code == 403
    assert admins.get(f"{USERS}{boss.pk}/delete/").status_code == 403
    erase = {"confirm": boss.username, "reason": "x"}
    admins.post(f"{LIST}owner/{boss.username}/", erase)
    assert User.objects.filter(pk=boss.pk).values().get() == before


def test_an_account_without_staff_status_and_more_rights_is_not_erased(admins, db):
    grant(boss := make_user("boss"), "change_group")
    page = admins.post(f"{LIST}owner/boss/", {"confirm": "boss", "reason": "x"}, follow=True)
    assert "has permissions that you do not have" in text_of(page)
    assert User.objects.filter(pk=boss.pk).exists()


def test_a_new_account_has_no_flags_whatever_is_sent(admins):
    group = Group.objects.get(name="Support")
    forged = {"is_staff": "on", "is_superuser": "on", "groups": group.pk, "user_permissions": 1}
    admins.post(f"{USERS}add/", NEW | forged | {"username": "carol"})
    carol = User.objects.get(username="carol")
    assert (carol.is_staff, carol.is_superuser) == (False, False)
    assert not carol.groups.exists()
    assert not carol.user_permissions.exists()


def test_only_a_superuser_edits_groups(admins, db):
    group = Group.objects.get(name="Administrators")
    before = set(group.permissions.all())
    everything = [permission.pk for permission in Permission.objects.all()]
    assert admins.get(GROUPS).status_code == 200
    assert admins.get(f"{GROUPS}add/").status_code == 403
    grant(User.objects.get(username="administrator"), "change_group", "add_group", "delete_group")
    forged = {"name": "Administrators", "permissions": everything}
    assert admins.post(f"{GROUPS}add/", forged | {"name": "Mine"}).status_code == 403
    assert admins.post(f"{GROUPS}{group.pk}/change/", forged).status_code == 403
    assert admins.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": group.pk, "post": "yes"}
    admins.post(GROUPS, chosen)
    assert set(Group.objects.get(name="Administrators").permissions.all()) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("\uff41lice", "U+FF41"),
        (" carol", "U+0020"),
        ("carol\u00a0", "U+00A0"),
        ("ca\u202erol", "U+202E"),
        ("crm\uff1a3", "U+FF1A"),
        ("ca\u200drol", "U+200D"),
    ],
)
def test_a_name_is_taken_exactly_or_refused(root, alice, name, said):
    page = text_of(root.post(f"{USERS}add/", NEW | {"username": name}))
    assert said in page
    page = text_of(root.post(change_url(alice), form_of(alice, username=name)))
    assert said in page
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "root"}


def test_a_name_in_a_namespace_stays_as_it_is(root, db):
    user = make_user("placeholder")
    User.objects.filter(pk=user.pk).update(username="crm\uff1a3")
    user.refresh_from_db()
    for sent in ("crm:3", "mallory"):
        root.post(change_url(user), form_of(user, username=sent, first_name=sent))
        user.refresh_from_db()
        assert (user.username, user.first_name) == ("crm\uff1a3", sent)


def test_an_account_that_an_application_named_can_be_changed(root, db):
    user = make_user("x")
    User.objects.filter(pk=user.pk).update(username="a&b/<c>")
    user.refresh_from_db()
    assert may_change(root, user)
    assert user.username == "a&b/<c>"


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "a/b",
        "..",
        ".",
        "../../admin",
        "jane_doe",
        "Zo\u00eb",
        "\u9234",
        "a b?c#d%2F",
        "crm\uff1a3",
    ],
)
def test_a_user_is_erased_on_their_owner_page_alone(root, name):
    user = make_user("x")
    User.objects.filter(pk=user.pk).update(username=name)
    make_conversation(user, 3)
    response = root.get(f"{USERS}{user.pk}/delete/")
    assert response.status_code == 302
    page, _, fragment = response["Location"].partition("#")
    assert fragment == "erase"
    assert page.count("/") == 6, "one segment, that no browser takes for a step"
    assert f"/{user.pk}/" not in page
    root.post(f"{USERS}{user.pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": user.pk, "post": "yes"}
    root.post(USERS, chosen)
    root.post(page, {"confirm": name})
    root.post(page, {"confirm": f"{name} ", "reason": "Asked for it"})
    assert User.objects.filter(pk=user.pk).exists()
    shown = text_of(root.get(page))
    assert "1 conversation, 3 messages" in shown
    root.post(page, {"confirm": name, "reason": "Asked for it"})
    assert not User.objects.filter(pk=user.pk).exists()
    record = AccessRecord.objects.get(detail__erased=True)
    assert (record.action, record.reason) == ("delete", "Asked for it")
    assert record.owner_name.startswith("erased-")


@pytest.mark.parametrize("segment", ["nobody", "_ffffff_", "_0_", "a%00b", "_d800_", "_2f", "a/b"])
def test_a_name_that_nobody_has_is_not_found(root, segment):
    assert root.get(f"{LIST}owner/{segment}/", follow=True).status_code == 404


def test_the_erase_page_names_what_is_held(root, alice):
    make_conversation(alice, 1, title="Evidence")
    make_conversation(alice, 1, title="Chat")
    Conversation.objects.filter(title="Evidence").update(legal_hold=True)
    page = text_of(root.get(f"{LIST}owner/alice/"))
    erase = page[page.index('id="erase"') :]
    assert "1 conversation of this user is on legal hold" in erase
    assert "Evidence" in erase
    assert "Chat" not in erase
    assert 'name="confirm"' not in erase


def test_staff_are_not_erased(root, staff):
    page = root.post(f"{LIST}owner/support/", {"confirm": "support", "reason": "x"}, follow=True)
    assert "This is a staff account" in text_of(page)
    assert User.objects.filter(pk=staff.pk).exists()


def test_an_erasure_takes_both_rights(staff, alice):
    grant(staff, "delete_user", "view_user")
    browser = signed_in(staff)
    form = {"confirm": "alice", "reason": "x"}
    assert browser.post(f"{LIST}owner/alice/", form).status_code == 403
    assert User.objects.filter(pk=alice.pk).exists()


def test_the_owner_page_shows_no_key_of_the_user(root, db):
    for _ in range(3):
        make_user("spare").delete()
    user = make_user("alice")
    User.objects.filter(pk=user.pk).update(id=987654321)
    assert "987654321" not in text_of(root.get(f"{LIST}owner/alice/"))
