"""The routes under /v1; a trailing slash is optional everywhere."""

from django.urls import URLPattern, URLResolver, re_path

from conversations.api.openai.conversations import OpenAIConversationViewSet
from conversations.api.openai.items import OpenAIItemViewSet

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
]
