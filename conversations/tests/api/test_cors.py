import pytest
from corsheaders.conf import conf

pytestmark = pytest.mark.django_db
ORIGIN = "https://chat.example.org"


def test_no_other_origin_may_call_until_one_is_set(api):
    answer = api.get("/api/conversations", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_set_origin_may_call_the_api_and_nothing_else(api, settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    assert conf.CORS_ALLOWED_ORIGINS == [ORIGIN]
    answer = api.get("/api/conversations", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    asked = api.options(
        "/api/conversations",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "idempotency-key, authorization",
        },
    )
    assert "idempotency-key" in asked.headers["Access-Control-Allow-Headers"]
    other = api.get("/healthz", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_pages_of_listed_origins_may_use_openais_sdk(api, settings):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    asked = api.options(
        "/v1/conversations",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless-retry-count",
        },
    )
    assert "x-stainless-retry-count" in asked.headers["Access-Control-Allow-Headers"]
    answer = api.get("/v1/conversations", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
