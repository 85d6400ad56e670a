"""Tokens and cost, from what providers send."""

from decimal import Decimal

import pytest

from conversations.chat.llm.providers import Provider
from conversations.chat.llm.token_usage import TokenUsage, cost_of, usage_from

PRICES = {
    "m": {"input": 0.15, "cached_input": 0.075, "output": 0.6},
    "n": {"input": 3.0, "output": 15.0},
}
PROVIDER = Provider(name="p", prices=PRICES)


def test_details_are_read_and_zeros_are_nothing_more():
    zeros = {"audio_tokens": 0, "accepted_prediction_tokens": 0}
    sent = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30} | zeros,
        "cost": 1.5e-05,
    }
    assert usage_from(sent) == TokenUsage(100, 50, 40, 30, Decimal("0.000015"))


def test_what_it_says_beyond_the_columns_is_kept_whole():
    sent = {"prompt_tokens": 1, "completion_tokens": 2, "queue_time": 0.1}
    assert usage_from(sent).beyond == sent
    sent = {"prompt_tokens": 1, "prompt_tokens_details": {"cache_write_tokens": 7}}
    assert usage_from(sent).beyond == sent
    sent = {"prompt_tokens": 1, "cost_details": {"upstream_inference_cost": None}}
    assert usage_from(sent).beyond is None


@pytest.mark.parametrize("odd", [-1, 2**31, "5", True, None, 1.5, [1], {}])
def test_what_is_no_count_is_not_known(odd):
    sent = {"prompt_tokens": odd, "completion_tokens": 2, "prompt_tokens_details": odd}
    assert usage_from(sent).prompt_tokens is None
    assert usage_from(sent).cached_tokens is None


@pytest.mark.parametrize("odd", [-1, 10**8, "5", True, float("nan"), float("inf")])
def test_what_is_no_amount_is_not_known(odd):
    assert usage_from({"cost": odd}).cost is None


def test_the_cost_is_the_providers_else_its_prices():
    counted = TokenUsage(1_000, 500, 400, 100)
    assert cost_of(counted, PROVIDER, "m") == Decimal("0.000420000000")
    assert cost_of(counted, PROVIDER, "n") == Decimal("0.010500000000")
    assert cost_of(counted, PROVIDER, "other") is None
    assert cost_of(TokenUsage(1_000, 500, cost=Decimal(1)), PROVIDER, "m") == 1
    assert cost_of(TokenUsage(1_000), PROVIDER, "m") is None
    # A count that is off by a server's mistake costs nothing below zero.
    assert cost_of(TokenUsage(10, 0, 99), PROVIDER, "m") == Decimal("0.000000750000")


def test_the_smallest_price_is_exact():
    provider = Provider(name="p", prices={"m": {"input": 0.000001, "output": 0}})
    assert cost_of(TokenUsage(1, 1), provider, "m") == Decimal("0.000000000001")
