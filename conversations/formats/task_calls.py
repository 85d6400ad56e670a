"""Model calls of a user interface for itself: titles, tags, follow-ups, search queries.

They come with the chat's own id, but are no part of it. Sources: the default prompts of Open WebUI
0.12 (`backend/open_webui/config.py`), LibreChat (`@librechat/agents`, `api/app/clients/prompts`)
and LobeChat (`packages/prompts`). Where an administrator has changed them, the interface has to say
what the call is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from conversations.formats.message import MessageDraft
from conversations.formats.sent_messages import INSTRUCTIONS, WITH_SOURCES

# Open WebUI: what follows `### Task:`, with which the context of a question begins as well.
_TASK = "### Task:\n"
_TASKS = (
    "Generate a concise",
    "Generate 1-3 broad tags",
    "Generate a detailed prompt for am image generation task",
    "Predict 3-5 useful messages",
    "Suggest 3-5 relevant follow-up",
    "Analyze the chat history to determine",
    "You are an autocompletion system.",
    "Summarize the conversation history",
)
_HISTORY = ("### Chat History:", "<chat_history>")
_QUESTIONS = (
    # Open WebUI: emoji, the merge of several answers.
    "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
    "You have been provided with a set of responses from various models to the latest user query",
    # LibreChat: titles.
    "Provide a concise, 5-word-or-less title for the conversation",
    "Please generate a concise, 5-word-or-less title for the conversation",
    "Analyze this conversation and provide:\n1. The detected language of the conversation",
)
_INSTRUCTIONS = (
    # Open WebUI: which tool to call, where the model cannot say so itself.
    "Available Tools: [",
    # LobeChat: titles and summaries.
    "You are a professional conversation summarizer. Generate a concise title",
    "You're an assistant who's good at extracting key takeaways from conversations",
    "你是一名擅长会话的助理",
)


def is_task_call(messages: Sequence[MessageDraft], *, task: str | None = None) -> bool:
    """Whether a user interface asks this for itself.

    `task` is what the request says that it is for, if it does. Otherwise it is one question in the
    words of a known interface, with or without instructions before it.
    """
    if task:
        return True
    said = [message for message in messages if message.role not in INSTRUCTIONS]
    if len(said) != 1 or said[0].role != "user":
        return False
    instructed = any(message.content.startswith(_INSTRUCTIONS) for message in messages[:-1])
    return instructed or _is_of_interface(said[0].content)


def _is_of_interface(question: str) -> bool:
    if not question.startswith(_TASK):
        return question.startswith(_QUESTIONS)
    if question.startswith(WITH_SOURCES):
        return False
    asks_for = question.removeprefix(_TASK).lstrip()
    return asks_for.startswith(_TASKS) or any(mark in question for mark in _HISTORY)
