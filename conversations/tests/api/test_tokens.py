import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from conversations.models import ApiToken
from conversations.services import find_or_create_user
from conversations.tests.factories import client_for, make_user

pytestmark = pytest.mark.django_db
URL = "/api/tokens"


def test_a_token_is_shown_once_works_and_can_be_revoked(api):
    created = api.post(URL, {"days": 2})
    assert created.status_code == 201
    token = created.json()["token"]
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    assert client.get("/api/conversations").status_code == 200
    listed = client.get(URL)
    assert token not in listed.content.decode()
    assert created.json()["id"] in [item["id"] for item in listed.json()["tokens"]]
    revoked = client.delete(f"{URL}/{created.json()['id']}")
    assert revoked.json() == {"status": "revoked", "token_id": created.json()["id"]}
    assert client.get("/api/conversations").status_code == 401


def test_only_a_digest_is_stored(api):
    token = api.post(URL, {}).json()["token"]
    assert not ApiToken.objects.filter(digest=token).exists()


def test_nobody_sees_or_revokes_anothers_token(api, bob):
    client_for(bob)
    theirs = ApiToken.objects.get(user=bob)
    assert theirs.key not in api.get(URL).content.decode()
    assert api.delete(f"{URL}/{theirs.key}").status_code == 404
    assert ApiToken.objects.filter(user=bob).exists()


@pytest.mark.parametrize("days", [0, -1, "5", 1.5, True, 10**9, None])
def test_bad_days_are_refused_by_name(api, days):
    answer = api.post(URL, {"days": days})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "days")


def with_token(text):
    return APIClient(headers={"Authorization": f"Bearer {text}"})


def test_a_trusted_client_hands_its_user_a_plain_token_for_the_browser():
    app = client_for(make_user("app"), trusted=True, namespace="crm")
    answer = app.post(URL, {"user_id": 3, "expires_in": 600, "name": "browser"})
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["trusted"], shown["namespace"], shown["name"]) == (False, "crm", "browser")
    browser = with_token(shown["token"])
    made = browser.post("/api/conversations", {"title": "Mine"}).json()
    assert made["user_id"] == 3
    assert [
        chat["id"] for chat in app.get("/api/users/3/conversations").json()["conversations"]
    ] == [made["id"]]
    assert browser.get("/api/conversations?user_id=4").status_code == 404
    assert browser.get("/api/conversations?user_id=*").status_code == 403
    assert browser.get("/api/conversations?user_id=3").json()["count"] == 1
    left = ApiToken.objects.get(name="browser")
    assert 590 < (left.expires_at - left.created_at).total_seconds() < 610


@pytest.mark.parametrize("seconds", [59, 7 * 24 * 3600 + 1, 1.5, "600", None])
def test_a_bad_lifetime_is_refused_by_name(api, seconds):
    answer = api.post(URL, {"expires_in": seconds})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "expires_in")


def test_two_lifetimes_are_one_too_many(api):
    assert api.post(URL, {"expires_in": 600, "days": 1}).status_code == 400


def test_nobody_else_makes_tokens_for_others_and_none_for_staff(api, staff):
    for client in (api, client_for(staff)):
        refused = client.post(URL, {"user_id": "bob"})
        assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (403, "user_id")
    app = client_for(make_user("app"), trusted=True)
    assert app.post(URL, {"user_id": "support"}).status_code == 403
    assert not ApiToken.objects.filter(user=staff, namespace="x").exists()


def test_me_says_who_calls_with_which_rights(api, staff, settings):
    settings.THROTTLE_RATES = {"read": "100/min"}
    me = api.get("/api/me").json()
    assert (me["user_id"], me["trusted"], me["namespace"], me["staff"]) == (
        "alice",
        False,
        None,
        False,
    )
    assert me["limits"]["rates"] == {"read": "100/min"}
    assert me["limits"]["max_messages_at_once"] == 1_000
    assert me["cost_currency"] == "USD"
    app = client_for(make_user("app"), trusted=True, namespace="crm").get("/api/me").json()
    assert (app["user_id"], app["trusted"], app["namespace"]) == ("\uff1aapp", True, "crm")
    assert app["limits"]["rates"] == {}
    looker = client_for(staff).get("/api/me").json()
    assert (looker["may_read_any"], looker["may_write_any"]) == (True, False)


def test_a_clients_own_conversations_are_named_apart_from_its_users(db):
    app = client_for(make_user("app"), trusted=True, namespace="crm")
    own = app.post("/api/conversations", {}).json()
    users = app.post("/api/conversations", {"user_id": "app"}).json()
    assert (own["user_id"], users["user_id"]) == ("\uff1aapp", "app")
    for name, chat in (("\uff1aapp", own), ("app", users)):
        listed = app.get("/api/conversations", {"user_id": name}).json()
        assert [one["id"] for one in listed["conversations"]] == [chat["id"]]


@pytest.mark.parametrize("body", [{}, {"days": 30}])
def test_a_trusted_client_makes_no_long_lived_token_for_its_user(backend, body):
    refused = backend.post(URL, {"user_id": "carol"} | body)
    assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, "expires_in")
    assert not User.objects.filter(username="carol").exists()


def test_a_user_of_a_namespace_goes_by_its_name_with_any_token_and_login(db):
    user = find_or_create_user(3, namespace="crm")
    session = APIClient()
    session.force_login(user)
    for client in (client_for(user), session):
        assert client.get("/api/me").json()["user_id"] == 3
        assert client.get("/api/conversations?user_id=3").status_code == 200


def test_a_token_makes_none_that_outlives_it(backend):
    short = backend.post(URL, {"user_id": "carol", "expires_in": 600}).json()
    browser = with_token(short["token"])
    for body in ({}, {"days": 30}, {"expires_in": 6_000}):
        made = browser.post(URL, body)
        assert (made.status_code, made.json()["expires_at"]) == (201, short["expires_at"])
    sooner = browser.post(URL, {"expires_in": 60}).json()
    assert sooner["expires_at"] < short["expires_at"]


def test_a_token_for_a_browser_never_has_rights_of_staff(bob):
    """Whatever its user becomes, and through whatever token is made with it."""
    app = client_for(make_user("app"), trusted=True)
    made = app.post(URL, {"user_id": "bob", "expires_in": 600}).json()["token"]
    User.objects.filter(pk=bob.pk).update(is_staff=True, is_superuser=True)
    another = with_token(made).post(URL, {}).json()["token"]
    for text in (made, another):
        me = with_token(text).get("/api/me").json()
        assert (me["may_read_any"], me["may_write_any"]) == (False, False)
        assert with_token(text).get("/api/conversations?user_id=*").status_code == 403
    assert client_for(bob).get("/api/me").json()["may_read_any"]
