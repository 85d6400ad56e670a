"""The options of a command that choose conversations: the filters of the API, as arguments."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from conversations.api.filters import ConversationFilters
from conversations.management.arguments import USAGE_ERROR
from conversations.models import Conversation
from conversations.models.conversation import ConversationQuerySet, is_user_of
from conversations.selectors.search import conversations_matching
from conversations.services.errors import ServiceError
from conversations.services.users import find_user
from conversations.services.validators import check_query

NO_SUCH_USER = "No such user."
NO_SUCH_CONVERSATION = "No such conversation: {ids}."

# The parameters of the API that an argument of another name stands for.
_PARAMETERS = {
    "since": "updated_after",
    "until": "updated_before",
    "model": "model",
    "mode": "mode",
    "rating": "rating",
    "min_rating": "min_rating",
    "tag": "tag",
    "pinned": "pinned",
    "archived": "archived",
}

_RATINGS = ("1", "-1")


def add_choosing_arguments(parser: CommandParser) -> None:
    """They narrow each other down; without any, all conversations are chosen."""
    group = parser.add_argument_group("which conversations", "all, unless narrowed down by")
    group.add_argument("--user", help="the owner's name")
    group.add_argument(
        "--namespace", default="", help="the namespace of the user; without --user, all its users"
    )
    text = "last active {} (ISO 8601 date, or date and time; UTC without an offset)"
    group.add_argument("--since", metavar="TIME", help=text.format("at this time or later"))
    group.add_argument("--until", metavar="TIME", help=text.format("before this time"))
    group.add_argument("--model", help="the conversation's model, exactly")
    group.add_argument("--mode", help="the detected mode of one of its messages")
    group.add_argument("--rating", choices=_RATINGS, help="one of its messages has this rating")
    group.add_argument(
        "--min-rating",
        choices=_RATINGS,
        help="its messages have ratings, and none is lower than this",
    )
    group.add_argument("--tag", action="append", help="repeated: it has all of these tags")
    group.add_argument("--pinned", action="store_const", const="true", help="it is pinned")
    group.add_argument("--archived", action="store_const", const="true", help="it is archived")
    group.add_argument("--query", metavar="WORDS", help="its title or a message has these words")
    group.add_argument(
        "--id", action="append", type=uuid.UUID, metavar="UUID", help="its id; may be repeated"
    )


def chosen_conversations(options: dict[str, Any]) -> QuerySet[Conversation]:
    """Raises CommandError, which names the argument."""
    chosen = _of_owner(options["user"], options["namespace"])
    if options["id"]:
        chosen = _with_ids(chosen, options["id"])
    query = QueryDict(mutable=True)
    for argument, parameter in _PARAMETERS.items():
        if (value := options[argument]) is not None:
            query.setlist(parameter, value if isinstance(value, list) else [value])
    try:
        narrowed = ConversationFilters.narrow(query, chosen)
    except ValidationError as error:
        raise _usage_error(error) from None
    return _with_words(narrowed, options["query"]) if options["query"] else narrowed


def _of_owner(user: str | None, namespace: str) -> ConversationQuerySet:
    if user is None:
        everybody = Conversation.objects.all()
        return everybody.filter(is_user_of(namespace, prefix="user__")) if namespace else everybody
    try:
        owner = find_user(user, namespace=namespace)
    except ServiceError as error:
        raise _error("user", error.detail) from None
    if owner is None:
        raise _error("user", NO_SUCH_USER)
    return Conversation.objects.owned_by(owner.pk)


def _with_ids(chosen: ConversationQuerySet, ids: list[uuid.UUID]) -> ConversationQuerySet:
    found = chosen.filter(pk__in=ids)
    if missing := set(ids) - set(found.values_list("pk", flat=True)):
        text = NO_SUCH_CONVERSATION.format(ids=", ".join(sorted(map(str, missing))))
        raise _error("id", text)
    return found


def _with_words(chosen: QuerySet[Conversation], words: str) -> QuerySet[Conversation]:
    try:
        check_query(words)
    except ServiceError as error:
        raise _error("query", error.detail) from None
    return conversations_matching(chosen, words)


def _usage_error(error: ValidationError) -> CommandError:
    arguments = {parameter: argument for argument, parameter in _PARAMETERS.items()}
    detail: Any = error.detail
    parameter, texts = next(iter(detail.items()))
    return _error(arguments.get(parameter, parameter), str(texts[0]))


def _error(argument: str, text: str) -> CommandError:
    return CommandError(f"--{argument.replace('_', '-')}: {text}", returncode=USAGE_ERROR)
