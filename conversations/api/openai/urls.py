"""The routes under /v1; a trailing slash is optional everywhere."""

from django.urls import URLPattern, URLResolver, re_path

from conversations.api.openai.chat_completions import ChatCompletionViewSet
from conversations.api.openai.models import ModelViewSet

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(
        r"^chat/completions/?$",
        ChatCompletionViewSet.as_view({"get": "list", "post": "create"}),
        name="v1-chat-completions",
    ),
    re_path(
        r"^chat/completions/(?P<completion_id>[^/]+)/?$",
        ChatCompletionViewSet.as_view({"get": "retrieve", "post": "update", "delete": "destroy"}),
        name="v1-chat-completion",
    ),
    re_path(
        r"^chat/completions/(?P<completion_id>[^/]+)/messages/?$",
        ChatCompletionViewSet.as_view({"get": "messages"}),
        name="v1-chat-completion-messages",
    ),
    re_path(r"^models/?$", ModelViewSet.as_view({"get": "list"}), name="v1-models"),
    re_path(
        r"^models/(?P<model_id>.+?)/?$", ModelViewSet.as_view({"get": "retrieve"}), name="v1-model"
    ),
]
