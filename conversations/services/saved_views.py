"""Saved views of staff: a list's filters and order under a name. Everybody has their own."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import User

from conversations.models import SavedView
from conversations.models.saved_view import MAX_VIEW_NAME_CHARS
from conversations.services.errors import InvalidValue
from conversations.services.validators import check_text

MAX_VIEWS = 30
MAX_QUERY_STRING_CHARS = 4_000
NO_NAME = "Give the view a name."
LONG_NAME = f"A name has at most {MAX_VIEW_NAME_CHARS} characters."
LONG_QUERY = "The filters are too long to be saved."
TOO_MANY = f"At most {MAX_VIEWS} views of a list are saved: delete one first."


def save_view(*, user: User, page: str, name: str, query: str) -> SavedView:
    """A view of that name is replaced. Raises InvalidValue for the name or the query."""
    name = " ".join(name.split())
    check_text("name", name)
    if not name:
        raise InvalidValue(NO_NAME, field="name", code="blank")
    if len(name) > MAX_VIEW_NAME_CHARS:
        raise InvalidValue(LONG_NAME, field="name", code="max_length")
    if len(query) > MAX_QUERY_STRING_CHARS:
        raise InvalidValue(LONG_QUERY, field="query", code="max_length")
    theirs = SavedView.objects.filter(user=user, page=page)
    if theirs.exclude(name=name).count() >= MAX_VIEWS:
        raise InvalidValue(TOO_MANY, field="name", code="max_length")
    view, _ = theirs.update_or_create(
        name=name,
        defaults={"query": query},
        create_defaults={"user": user, "page": page, "query": query},
    )
    return view


def delete_saved_view(*, user: User, view_id: uuid.UUID) -> None:
    """Nothing where this user has no such view."""
    SavedView.objects.filter(user=user, pk=view_id).delete()
