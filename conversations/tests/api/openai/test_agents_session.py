"""The Agents SDK's session on OpenAI's Conversations API, against a real server."""

import asyncio

import pytest

from conversations.models import Conversation
from conversations.tests.api.openai.conftest import library
from conversations.tests.api.openai.items import EXAMPLES
from conversations.tests.factories import make_conversation, make_token

SAID = [EXAMPLES["easy message"], *(EXAMPLES[name] for name in ("reasoning", "function_call"))]


@pytest.fixture
def in_session(server, transactional_db, alice):
    """Runs a coroutine function with a session of the SDK."""
    from agents.memory import OpenAIConversationsSession

    key = make_token(alice)

    def run(work, **options):
        async def with_client():
            async with library().AsyncOpenAI(
                base_url=f"{server.url}/v1", api_key=key, _strict_response_validation=True
            ) as client:
                return await work(OpenAIConversationsSession(openai_client=client, **options))

        return asyncio.run(with_client())

    return run


def test_items_are_added_read_and_taken_off(in_session):
    async def work(session):
        await session.add_items(SAID)
        assert [item["type"] for item in await session.get_items()] == [
            "message", "reasoning", "function_call"
        ]  # fmt: skip
        last = await session.pop_item()
        assert last["call_id"] == "call_1"
        latest = await session.get_items(limit=1)
        assert [item["id"] for item in latest] == ["rs_1"]
        await session.add_items([last, EXAMPLES["function_call_output"]])
        assert [item["type"] for item in await session.get_items()] == [
            "message", "reasoning", "function_call", "function_call_output"
        ]  # fmt: skip
        while await session.pop_item():
            pass
        assert await session.get_items() == []
        await session.clear_session()

    in_session(work)
    assert not Conversation.objects.exists()


def test_many_items_are_added_and_read_in_order(in_session):
    async def work(session):
        sent = [{"role": "user", "content": f"question {number}"} for number in range(50)]
        await session.add_items(sent)
        read = await session.get_items()
        assert [item["content"][0]["text"] for item in read] == [item["content"] for item in sent]
        assert await session.get_items(limit=25) == read[-25:]
        # What was read can be added again, as a copy of the session.
        await session.add_items(read)
        assert len(await session.get_items()) == 100

    in_session(work)


def test_a_session_goes_on_with_a_conversation_of_the_api(in_session, alice):
    chat = make_conversation(alice, messages=3)

    async def work(session):
        assert len(await session.get_items()) == 3
        await session.add_items([EXAMPLES["easy message"]])
        assert (await session.pop_item())["content"][0]["text"] == "Hello"

    in_session(work, conversation_id=str(chat.pk))
    chat.refresh_from_db()
    assert chat.message_count == 3


def test_two_sessions_add_to_one_conversation(in_session, alice):
    chat = make_conversation(alice)

    async def work(session):
        await asyncio.gather(
            *(session.add_items([{"role": "user", "content": str(n)}] * 3) for n in range(8))
        )
        texts = [item["content"][0]["text"] for item in await session.get_items()]
        assert [texts[start : start + 3] for start in range(0, 24, 3)] == [
            [texts[start]] * 3 for start in range(0, 24, 3)
        ]

    in_session(work, conversation_id=f"conv_{chat.pk.hex}")
