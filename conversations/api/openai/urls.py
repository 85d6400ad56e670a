"""The routes under /v1; a trailing slash is optional everywhere."""

from django.urls import URLPattern, URLResolver, re_path

from conversations.api.openai.chat_completions import ChatCompletionViewSet
from conversations.api.openai.conversations import OpenAIConversationViewSet
from conversations.api.openai.items import OpenAIItemViewSet
from conversations.api.openai.models import ModelViewSet
from conversations.api.openai.responses import ResponseViewSet

_CONVERSATION = r"^conversations/(?P<conversation_id>[^/]+)"

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(
        r"^conversations/?$",
        OpenAIConversationViewSet.as_view({"get": "list", "post": "create"}),
        name="openai-conversation-list",
    ),
    re_path(
        rf"{_CONVERSATION}/?$",
        OpenAIConversationViewSet.as_view(
            {"get": "retrieve", "post": "update", "delete": "destroy"}
        ),
        name="openai-conversation-detail",
    ),
    re_path(
        rf"{_CONVERSATION}/items/?$",
        OpenAIItemViewSet.as_view({"get": "list", "post": "create"}),
        name="openai-item-list",
    ),
    re_path(
        rf"{_CONVERSATION}/items/(?P<item_id>[^/]+)/?$",
        OpenAIItemViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="openai-item-detail",
    ),
    re_path(
        r"^chat/completions/?$",
        ChatCompletionViewSet.as_view({"get": "list", "post": "create"}),
        name="openai-chat-completions",
    ),
    re_path(
        r"^chat/completions/(?P<completion_id>[^/]+)/?$",
        ChatCompletionViewSet.as_view({"get": "retrieve", "post": "update", "delete": "destroy"}),
        name="openai-chat-completion",
    ),
    re_path(
        r"^chat/completions/(?P<completion_id>[^/]+)/messages/?$",
        ChatCompletionViewSet.as_view({"get": "messages"}),
        name="openai-chat-completion-messages",
    ),
    re_path(r"^models/?$", ModelViewSet.as_view({"get": "list"}), name="openai-models"),
    re_path(
        r"^models/(?P<model_id>.+?)/?$",
        ModelViewSet.as_view({"get": "retrieve"}),
        name="openai-model",
    ),
    re_path(r"^responses/?$", ResponseViewSet.as_view({"post": "create"}), name="openai-responses"),
    re_path(
        r"^responses/(?P<response_id>[^/]+)/?$",
        ResponseViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="openai-response",
    ),
    re_path(
        r"^responses/(?P<response_id>[^/]+)/cancel/?$",
        ResponseViewSet.as_view({"post": "cancel"}),
        name="openai-response-cancel",
    ),
    re_path(
        r"^responses/(?P<response_id>[^/]+)/input_items/?$",
        ResponseViewSet.as_view({"get": "input_items"}),
        name="openai-response-input-items",
    ),
]
