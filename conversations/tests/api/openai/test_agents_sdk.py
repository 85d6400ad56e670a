"""OpenAI's Agents SDK with this server as the model, and as the session."""

import asyncio

import agents
import openai
import pytest

from conversations.models import Conversation, Message
from conversations.tests.chat.scripted_behaviours import Call, calls, says
from conversations.tests.chat.scripted_responses import called, responds, said, thought

from .response_clients import *  # noqa: F403
from .response_clients import strict

pytestmark = pytest.mark.django_db(transaction=True)


@agents.function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city} is warm."


def script(provider):
    """Three turns, of which the first and the last call a tool."""
    provider.script(
        calls(Call("weather", {"city": "Rome"}, "call_1")),
        says("Rome is warm."),
        says("You are welcome."),
        calls(Call("weather", {"city": "Oslo"}, "call_2")),
        says("Oslo is warm too."),
    )


QUESTIONS = ("The weather in Rome?", "Thanks!", "And in Oslo?")
ANSWERS = ["Rome is warm.", "You are welcome.", "Oslo is warm too."]


def agent_of(model):
    return agents.Agent(name="assistant", instructions="Be brief.", model=model, tools=[weather])


def run_all(url, token, conduct):
    agents.set_tracing_disabled(True)

    async def run():
        async with strict(url, token, openai.AsyncOpenAI) as client:
            return await conduct(client)

    return asyncio.run(run())


def test_an_agent_runs_on_responses(scripted, token, live_server):
    script(scripted)

    async def conduct(client):
        agent = agent_of(agents.OpenAIResponsesModel("m", client))
        answers, previous = [], None
        for question in QUESTIONS:
            result = await agents.Runner.run(
                agent, question, previous_response_id=previous, auto_previous_response_id=True
            )
            previous = result.last_response_id
            answers.append(result.final_output)
        return answers

    assert run_all(live_server.url, token, conduct) == ANSWERS
    assert Conversation.objects.count() == 1
    roles = Message.objects.order_by("sequence").values_list("role", flat=True)
    assert list(roles) == [
        *("user", "assistant", "tool", "assistant", "user", "assistant"),
        *("user", "assistant", "tool", "assistant"),
    ]


def test_an_agent_is_streamed_on_responses(scripted, token, live_server):
    script(scripted)

    async def conduct(client):
        agent = agent_of(agents.OpenAIResponsesModel("m", client))
        answers, previous = [], None
        for question in QUESTIONS:
            result = agents.Runner.run_streamed(
                agent, question, previous_response_id=previous, auto_previous_response_id=True
            )
            async for _ in result.stream_events():
                pass
            previous = result.last_response_id
            answers.append(result.final_output)
        return answers

    assert run_all(live_server.url, token, conduct) == ANSWERS


def test_an_agent_keeps_its_conversation_on_the_server(scripted, token, live_server):
    script(scripted)

    async def conduct(client):
        agent = agent_of(agents.OpenAIResponsesModel("m", client))
        conversation = await client.conversations.create()
        return [
            (await agents.Runner.run(agent, one, conversation_id=conversation.id)).final_output
            for one in QUESTIONS
        ]

    assert run_all(live_server.url, token, conduct) == ANSWERS
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("relays", [False, True])
def test_an_agent_that_sends_its_whole_history_is_recorded_once(
    scripted, settings, token, live_server, relays
):
    if relays:
        settings.CHAT_PROVIDERS["scripted"]["responses"] = True
        scripted.script(
            responds(thought("Hm."), called("weather", '{"city": "Rome"}', "call_1")),
            *(responds(thought("Hm."), said(answer)) for answer in ANSWERS[:2]),
            responds(called("weather", '{"city": "Oslo"}', "call_2")),
            responds(said(ANSWERS[2])),
        )
    else:
        script(scripted)

    async def conduct(client):
        agent = agent_of(agents.OpenAIResponsesModel("m", client))
        history, answers = [], []
        for question in QUESTIONS:
            asked = [*history, {"role": "user", "content": question}]
            result = await agents.Runner.run(agent, asked)
            history = result.to_input_list()
            answers.append(result.final_output)
        return answers

    assert run_all(live_server.url, token, conduct) == ANSWERS
    assert Conversation.objects.count() == 1
    roles = Message.objects.order_by("sequence").values_list("role", flat=True)
    assert list(roles) == [
        *("user", "assistant", "tool", "assistant", "user", "assistant"),
        *("user", "assistant", "tool", "assistant"),
    ]


@pytest.mark.parametrize(
    ("kind", "session_of"),
    [
        (agents.OpenAIResponsesModel, agents.OpenAIConversationsSession),
        # The SDK itself does not send items of its session for Conversations to this model.
        (agents.OpenAIChatCompletionsModel, lambda openai_client: agents.SQLiteSession("one")),
    ],
)
def test_an_agent_runs_with_a_session(scripted, token, live_server, kind, session_of):
    script(scripted)

    async def conduct(client):
        settings = agents.ModelSettings(store=False)
        agent = agent_of(kind("m", client)).clone(model_settings=settings)
        session = session_of(openai_client=client)
        answers = [
            (await agents.Runner.run(agent, one, session=session)).final_output for one in QUESTIONS
        ]
        return answers, await session.get_items()

    answers, items = run_all(live_server.url, token, conduct)
    assert answers == ANSWERS
    kinds = [item.get("type", "message") for item in items]
    assert kinds.count("function_call") == kinds.count("function_call_output") == 2
    assert [message["role"] for message in scripted.chats[-1].body["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"),
        *("assistant", "tool"),
    ]
    # The session's own conversation is the only record.
    kept = len(items) if kind is agents.OpenAIResponsesModel else 0
    assert Message.objects.count() == kept
