"""The routes under /api; a trailing slash is optional everywhere."""

from django.urls import URLPattern, URLResolver, include, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import Route, SimpleRouter

from conversations.api.all_messages import AnyMessageViewSet
from conversations.api.branches import (
    BranchViewSet,
    ForkViewSet,
    SessionBranchViewSet,
    SessionForkViewSet,
)
from conversations.api.bulk import BulkConversationViewSet
from conversations.api.changes import ChangesViewSet
from conversations.api.chat import ChatViewSet
from conversations.api.conversations import ConversationViewSet, UserConversationViewSet
from conversations.api.exports import ExportViewSet, OwnExportViewSet, SessionExportViewSet
from conversations.api.messages import MessageViewSet
from conversations.api.search import SearchViewSet
from conversations.api.sessions import (
    ChatHistoryViewSet,
    SessionMessageViewSet,
    SessionViewSet,
)
from conversations.api.tickets import TicketViewSet
from conversations.api.tokens import MeViewSet, TokenViewSet
from conversations.api.usage import UsageViewSet


class Router(SimpleRouter):
    """With an optional slash at the end of its routes, and lists that a DELETE clears, where their
    views can do that."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
        for route in self.routes[:1]:
            if isinstance(route, Route):
                clearing = {**route.mapping, "delete": "clear"}
                self.routes = [route._replace(mapping=clearing), *self.routes[1:]]


conversations = Router()
conversations.register("conversations", ConversationViewSet, basename="conversation")

messages = Router()
messages.register("messages", MessageViewSet, basename="message")

branches = Router()
branches.register("branches", BranchViewSet, basename="branch")

sessions = Router()
sessions.register("sessions", SessionViewSet, basename="session")

session_messages = Router()
session_messages.register("messages", SessionMessageViewSet, basename="session-message")

session_branches = Router()
session_branches.register("branches", SessionBranchViewSet, basename="session-branch")

others = Router()
others.register("search", SearchViewSet, basename="search")
others.register("tokens", TokenViewSet, basename="token")

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(
        r"^conversations/bulk/?$",
        BulkConversationViewSet.as_view({"post": "create"}),
        name="conversation-bulk",
    ),
    re_path(
        r"^conversations/delete/?$",
        BulkConversationViewSet.as_view({"post": "delete_many"}),
        name="conversation-bulk-delete",
    ),
    *conversations.urls,
    re_path(
        r"^conversations/(?P<conversation_id>[^/]+)/", include([*messages.urls, *branches.urls])
    ),
    re_path(
        r"^conversations/(?P<conversation_id>[^/]+)/fork/?$",
        ForkViewSet.as_view({"post": "create"}),
        name="conversation-fork",
    ),
    re_path(
        r"^conversations/(?P<conversation_id>[^/]+)/export/?$",
        ExportViewSet.as_view({"get": "retrieve"}),
        name="conversation-export",
    ),
    re_path(
        r"^users/(?P<user>[^/]+)/conversations/?$",
        UserConversationViewSet.as_view({"get": "list"}),
        name="user-conversation-list",
    ),
    re_path(r"^chat-history/", include(sessions.urls)),
    re_path(
        r"^chat-history/sessions/(?P<session_id>[^/]+)/",
        include([*session_messages.urls, *session_branches.urls]),
    ),
    re_path(
        r"^chat-history/sessions/(?P<session_id>[^/]+)/fork/?$",
        SessionForkViewSet.as_view({"post": "create"}),
        name="session-fork",
    ),
    re_path(
        r"^chat-history/sessions/(?P<session_id>[^/]+)/export/?$",
        SessionExportViewSet.as_view({"get": "retrieve"}),
        name="session-export",
    ),
    re_path(
        r"^chat/history/(?P<session_id>[^/]+)/?$",
        ChatHistoryViewSet.as_view({"get": "retrieve"}),
        name="chat-history",
    ),
    *others.urls,
    re_path(r"^changes/?$", ChangesViewSet.as_view({"get": "list"}), name="changes"),
    re_path(r"^messages/?$", AnyMessageViewSet.as_view({"get": "list"}), name="any-message-list"),
    re_path(r"^usage/?$", UsageViewSet.as_view({"get": "list"}), name="usage"),
    re_path(r"^me/?$", MeViewSet.as_view({"get": "retrieve"}), name="me"),
    re_path(r"^me/export/?$", OwnExportViewSet.as_view({"get": "retrieve"}), name="me-export"),
    re_path(r"^chat/?$", ChatViewSet.as_view({"post": "create"}), name="chat"),
    re_path(r"^chat/tickets/?$", TicketViewSet.as_view({"post": "create"}), name="chat-tickets"),
    re_path(
        r"^chat/ask-stream/?$", ChatViewSet.as_view({"get": "ask_stream"}), name="chat-ask-stream"
    ),
    re_path(
        r"^chat/streams/(?P<message_id>[^/]+)/?$",
        ChatViewSet.as_view({"get": "stream"}),
        name="chat-stream",
    ),
    re_path(
        r"^chat/streams/(?P<message_id>[^/]+)/stop/?$",
        ChatViewSet.as_view({"post": "stop"}),
        name="chat-stop",
    ),
    re_path(r"^schema/?$", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^docs/?$", SpectacularSwaggerView.as_view(), name="docs"),
]
