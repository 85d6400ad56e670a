import pytest
from rest_framework.test import APIClient

from conversations.models import ApiToken
from conversations.tests.factories import client_for

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
    assert theirs.token_key not in api.get(URL).content.decode()
    assert api.delete(f"{URL}/{theirs.token_key}").status_code == 404
    assert ApiToken.objects.filter(user=bob).exists()


@pytest.mark.parametrize("days", [0, -1, "5", 1.5, True, 10**9, None])
def test_bad_days_are_refused_by_name(api, days):
    answer = api.post(URL, {"days": days})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "days")
