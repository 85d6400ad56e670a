"""Messages in responses: pages of a conversation, its first ones, and single ones.

`?branch=` says which are read: `active` (the default), the number of a branch, or `all`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from django.db.models import QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.reverse import reverse

from conversations.api.contracts import Contract
from conversations.api.filters import MessageFilters
from conversations.api.pagination import Cursor, Links, Order, cut_page
from conversations.api.queries import (
    check_is_there,
    message_from_row,
    messages_of_conversation,
)
from conversations.api.views import choice_of, query_string_of
from conversations.db.bulk_rows import Row
from conversations.models import Message, Status, as_read
from conversations.models.branch_path import LAST
from conversations.selectors.branches import on_path, path_of, shown_path
from conversations.selectors.message_pages import (
    ALL_BRANCHES,
    ShownMessage,
    messages_with_ids,
    page_of_messages,
)
from conversations.services import NotFound
from conversations.services.branch_placement import MAX_BRANCHES
from conversations.services.errors import NO_SUCH_BRANCH, NO_SUCH_MESSAGE

ORDERS = {
    "asc": Order(columns=("branch", "sequence"), descending=False),
    "desc": Order(columns=("branch", "sequence"), descending=True),
}
DETAIL_MESSAGES = 1_000
BAD_BRANCH = "`active`, `all`, or the number of a branch."
_BOUNDS = ("after_sequence", "before_sequence")
_BY_NAME = {"active": None, "all": ALL_BRANCHES}


def branch_of(request: Request) -> int | None:
    """The branch that a request reads: a number, None for the active one, or ALL_BRANCHES."""
    text = request.query_params.get("branch", "active")
    if text in _BY_NAME:
        return _BY_NAME[text]
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= MAX_BRANCHES):
        raise ValidationError({"branch": [ErrorDetail(BAD_BRANCH, "invalid")]})
    return int(text)


class MessagePages:
    """Reads the messages of one conversation of an owner, as a contract names them."""

    def __init__(
        self, request: Request, contract: Contract, owner_id: int, conversation_id: uuid.UUID
    ) -> None:
        self._request, self._contract = request, contract
        self._owner_id, self._conversation_id = owner_id, conversation_id
        self._name = contract.id_name

    def page(self) -> tuple[list[orjson.Fragment], Links]:
        """The page that the request asks for, and its neighbours. Raises NotFound."""
        query = self._request.query_params
        asked = MessageFilters.asked(query)
        order = choice_of(self._request, "order", ORDERS)
        filters = self._filters(asked)
        narrowed = filters.qs if filters and set(asked) - set(_BOUNDS) else None
        bounds = filters.form.cleaned_data if filters else {}

        def fetch(cursor: Cursor, limit: int) -> list[Row]:
            # A cursor stays on its branch, whatever is the active one by now.
            branch, at = cursor.at or (branch_of(self._request), None)
            descending = order.descending != cursor.backward
            if narrowed is not None:
                return self._filtered(narrowed, branch, at, descending, limit)
            above = _given(bounds.get("after_sequence"), 0)
            below = _given(bounds.get("before_sequence"), LAST)
            if at is not None:
                above, below = (above, min(at, below)) if descending else (max(at, above), below)
            return self._rows(branch, above, below, descending, limit)

        scope = query_string_of(query, [*asked, "order", "branch"])
        rows, links = cut_page(
            self._request, f"messages:{self._conversation_id}:{scope}", order.columns, fetch
        )
        if not rows:
            self._check_is_there()  # an empty page, or none of theirs?
        return [row["message"] for row in rows], links

    def first(self) -> tuple[list[orjson.Fragment], str | None]:
        """The first DETAIL_MESSAGES messages, and the URL of those after them, if there are any."""
        branch, beyond = branch_of(self._request), None
        rows = self._rows(branch, 0, LAST, False, DETAIL_MESSAGES + 1)
        if not rows and branch is not None:
            self._check_is_there()
        if len(rows) > DETAIL_MESSAGES:
            rows.pop()
            names = {self._contract.id_name: self._conversation_id}
            path = reverse(self._contract.messages_route, kwargs=names, request=self._request)
            last = rows[-1]
            shown = "all" if last["branch"] == ALL_BRANCHES else last["branch"]
            query = {"after_sequence": last["sequence"], "branch": shown}
            beyond = f"{path}?{urlencode(query)}"
        return [row["message"] for row in rows], beyond

    def with_ids(self, ids: Sequence[uuid.UUID]) -> list[orjson.Fragment]:
        """Those of these messages that are there, by sequence."""
        found = messages_with_ids(
            self._owner_id, self._conversation_id, ids, name_of_conversation=self._name
        )
        return [as_fragment(message) for message in found]

    def one(self, message_id: uuid.UUID) -> orjson.Fragment:
        """Raises NotFound."""
        for message in self.with_ids([message_id]):
            return message
        check_is_there(self._conversation_id, self._owner_id)
        raise NotFound(NO_SUCH_MESSAGE)

    def _filters(self, asked: list[str]) -> MessageFilters | None:
        if not asked:
            return None
        messages = messages_of_conversation(self._owner_id, self._conversation_id)
        return MessageFilters.checked(self._request.query_params, messages)

    def _rows(
        self, branch: int | None, above: int, below: int, descending: bool, limit: int
    ) -> list[Row]:
        found = page_of_messages(
            self._owner_id,
            self._conversation_id,
            name_of_conversation=self._name,
            branch=branch,
            above=above,
            below=below,
            descending=descending,
            limit=limit,
        )
        return list(_rows_of(found))

    def _filtered(
        self,
        narrowed: QuerySet[Message],
        branch: int | None,
        at: int | None,
        descending: bool,
        limit: int,
    ) -> list[Row]:
        """Which they are by a QuerySet, within the path; then as ever by their ids."""
        number = ALL_BRANCHES
        if branch != ALL_BRANCHES:
            shown = shown_path(self._owner_id, self._conversation_id, branch)
            if shown is None:
                return []
            number, path = shown
            narrowed = on_path(narrowed, path)
        if at is not None:
            narrowed = narrowed.filter(**{"sequence__lt" if descending else "sequence__gt": at})
        order = "-sequence" if descending else "sequence"
        ids = list(narrowed.order_by(order).values_list("id", flat=True)[:limit])
        found = messages_with_ids(
            self._owner_id, self._conversation_id, ids, name_of_conversation=self._name
        )
        rows = [row | {"branch": number} for row in _rows_of(found)]
        return rows[::-1] if descending else rows

    def _check_is_there(self) -> None:
        """Raise NotFound unless there is such a conversation, with such a branch."""
        number = branch_of(self._request)
        check_is_there(self._conversation_id, self._owner_id)
        if number in (None, ALL_BRANCHES):
            return
        if path_of(self._owner_id, self._conversation_id, number) is None:
            raise NotFound(NO_SUCH_BRANCH, field="branch")


def appended(rows: Sequence[Row], contract: Contract) -> list[Any]:
    """The stored rows of one append as responses have them. No statement for new ones at the end
    of a branch, unless others follow the message before."""
    if all("parent_id" in row for row in rows):
        return [contract.message(message_from_row(row)) for row in rows]
    place = (rows[0]["user_id"], rows[0]["conversation_id"])
    ids = [row["id"] for row in rows]
    found = messages_with_ids(*place, ids, name_of_conversation=contract.id_name)
    return [as_fragment(message) for message in found]


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _rows_of(messages: Iterable[ShownMessage]) -> Iterator[Row]:
    """With the values that a cursor is made of."""
    for message in messages:
        yield {
            "message": as_fragment(message),
            "branch": message.branch,
            "sequence": message.sequence,
        }


def as_fragment(message: ShownMessage) -> orjson.Fragment:
    """Ready to be sent; an abandoned answer is `interrupted`."""
    if message.status != Status.STREAMING:
        return orjson.Fragment(message.json)
    stored = orjson.loads(message.json)
    updated_at = datetime.fromisoformat(stored["updated_at"])
    told = as_read({"status": stored["status"], "updated_at": updated_at})
    del told["updated_at"]
    return orjson.Fragment(orjson.dumps(stored | told))
