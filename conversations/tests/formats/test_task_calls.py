"""Which model calls a user interface makes for itself."""

import pytest

from conversations.formats.sent_messages import sent_messages
from conversations.formats.task_calls import is_task_call


def drafts(*pairs):
    return sent_messages([{"role": role, "content": content} for role, content in pairs])


HISTORY = "\n### Guidelines:\n- …\n### Chat History:\n<chat_history>\nUSER: hi\n</chat_history>"


@pytest.mark.parametrize(
    "question",
    [
        "### Task:\nGenerate a concise, 3-5 word title with an emoji …" + HISTORY,
        "### Task:\nGenerate 1-3 broad tags categorizing the main themes …" + HISTORY,
        "### Task:\nPredict 3-5 useful messages this user might naturally send next",
        "### Task:\nSuggest 3-5 relevant follow-up questions or prompts",
        "### Task:\nAnalyze the chat history to determine the necessity of search queries",
        "### Task:\nYou are an autocompletion system. Continue the text in `<text>` …",
        "### Task:\nWords of an administrator." + HISTORY,
        "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
        "Provide a concise, 5-word-or-less title for the conversation, using title case …",
        "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. ",
    ],
)
def test_the_tasks_of_known_interfaces(question):
    assert is_task_call(drafts(("user", question)))
    assert is_task_call(drafts(("system", "You are a helpful assistant."), ("user", question)))
    # Within a chat it is what somebody has written.
    assert not is_task_call(drafts(("user", "hi"), ("assistant", "Hello!"), ("user", question)))


@pytest.mark.parametrize(
    "instructions",
    [
        "You are a professional conversation summarizer. Generate a concise title that captures …",
        "你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题",
        "Available Tools: []\n\nYour task is to choose and return the correct tool(s) …",
    ],
)
def test_tasks_that_instructions_tell(instructions):
    assert is_task_call(drafts(("system", instructions), ("user", "user: hi\nassistant: Hello!")))


@pytest.mark.parametrize(
    "question",
    [
        "### Task:\nRespond to the user query using the context\n<context></context>\n\nhi",
        "### Task:\nRespond to the user query … ### Chat History: … </context>\n\nhi",
        "### Task:\nWrite my homework.",
        "Give this chat a title.",
        "",
    ],
)
def test_questions_of_people(question):
    assert not is_task_call(drafts(("user", question)))


def test_what_the_request_says():
    assert is_task_call(drafts(("user", "hi")), task="title_generation")
    assert not is_task_call(drafts(("user", "hi")), task="")
    assert not is_task_call([])
