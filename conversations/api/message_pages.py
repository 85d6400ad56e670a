"""Messages in responses: pages of a conversation, its first ones, and single ones.

`?branch=` says which are read: `active` (the default), the number of a branch, or `all`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from django.db.models import QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.reverse import reverse

from conversations.api.contracts import Contract
from conversations.api.filters import MessageFilters
from conversations.api.pagination import Cursor, Cut, Links, Order, page_at
from conversations.api.queries import (
    check_is_there,
    message_from_row,
    messages_of_conversation,
)
from conversations.api.views import choice_of, query_string_of
from conversations.db.bulk_rows import Row
from conversations.models import Message
from conversations.models.branch_path import LAST
from conversations.selectors.branches import on_path, path_of, shown_path
from conversations.selectors.message_pages import (
    ALL_BRANCHES,
    MessagePage,
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
NONE = orjson.Fragment("[]")
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

    def page(self) -> tuple[orjson.Fragment, Links]:
        """The page that the request asks for, and its neighbours. Raises NotFound."""
        query = self._request.query_params
        asked = MessageFilters.asked(query)
        order = choice_of(self._request, "order", ORDERS)
        filters = self._filters(asked)
        narrowed = filters.qs if filters and set(asked) - set(_BOUNDS) else None
        bounds = filters.form.cleaned_data if filters else {}

        def read(cursor: Cursor, size: int) -> Cut:
            # A cursor stays on its branch, whatever is the active one by now.
            branch, at = cursor.at or (branch_of(self._request), None)
            descending = order.descending != cursor.backward
            above = _given(bounds.get("after_sequence"), 0)
            below = _given(bounds.get("before_sequence"), LAST)
            if at is not None:
                above, below = (above, min(at, below)) if descending else (max(at, above), below)
            if narrowed is None:
                found = self._read(branch, above, below, descending, cursor.backward, size)
            else:
                found = self._filtered(
                    narrowed.filter(sequence__gt=above, sequence__lt=below),
                    *(branch, descending, cursor.backward, size),
                )
            return _cut(found, order)

        scope = query_string_of(query, [*asked, "order", "branch"])
        messages, links = page_at(self._request, f"messages:{self._conversation_id}:{scope}", read)
        if messages is NONE:
            self._check_is_there()  # an empty page, or none of theirs?
        return messages, links

    def first(self) -> tuple[orjson.Fragment, str | None]:
        """The first DETAIL_MESSAGES messages, and the URL of those after them, if there are any."""
        branch = branch_of(self._request)
        page = self._read(branch, 0, LAST, False, False, DETAIL_MESSAGES)
        if page is None:
            if branch is not None:
                self._check_is_there()
            return NONE, None
        return as_array(page), self._beyond(page) if page.more else None

    def _beyond(self, page: MessagePage) -> str:
        names = {self._contract.id_name: self._conversation_id}
        path = reverse(self._contract.messages_route, kwargs=names, request=self._request)
        shown = "all" if page.branch == ALL_BRANCHES else page.branch
        return f"{path}?{urlencode({'after_sequence': page.last, 'branch': shown})}"

    def one(self, message_id: uuid.UUID) -> orjson.Fragment:
        """Raises NotFound."""
        place = (self._owner_id, self._conversation_id)
        page = messages_with_ids(*place, [message_id], name_of_conversation=self._name)
        if page is None:
            check_is_there(self._conversation_id, self._owner_id)
            raise NotFound(NO_SUCH_MESSAGE)
        return orjson.Fragment(page.json)

    def _filters(self, asked: list[str]) -> MessageFilters | None:
        if not asked:
            return None
        messages = messages_of_conversation(self._owner_id, self._conversation_id)
        return MessageFilters.checked(self._request.query_params, messages)

    def _read(
        self,
        branch: int | None,
        above: int,
        below: int,
        descending: bool,
        backward: bool,
        limit: int,
    ) -> MessagePage | None:
        return page_of_messages(
            self._owner_id,
            self._conversation_id,
            name_of_conversation=self._name,
            branch=branch,
            above=above,
            below=below,
            descending=descending,
            backward=backward,
            limit=limit,
        )

    def _filtered(
        self,
        narrowed: QuerySet[Message],
        branch: int | None,
        descending: bool,
        backward: bool,
        limit: int,
    ) -> MessagePage | None:
        """Which they are by a QuerySet, within the path; then as ever by their ids."""
        number = ALL_BRANCHES
        if branch != ALL_BRANCHES:
            shown = shown_path(self._owner_id, self._conversation_id, branch)
            if shown is None:
                return None
            number, path = shown
            narrowed = on_path(narrowed, path)
        order = "-sequence" if descending else "sequence"
        ids = list(narrowed.order_by(order).values_list("id", flat=True)[: limit + 1])
        page = messages_with_ids(
            self._owner_id,
            self._conversation_id,
            ids[:limit],
            name_of_conversation=self._name,
            descending=descending != backward,
        )
        return page and page._replace(branch=number, more=len(ids) > limit)

    def _check_is_there(self) -> None:
        """Raise NotFound unless there is such a conversation, with such a branch."""
        number = branch_of(self._request)
        check_is_there(self._conversation_id, self._owner_id)
        if number in (None, ALL_BRANCHES):
            return
        if path_of(self._owner_id, self._conversation_id, number) is None:
            raise NotFound(NO_SUCH_BRANCH, field="branch")


def appended(rows: Sequence[Row], contract: Contract, *, single: bool = False) -> Any:
    """The stored rows of one append as responses have them, or the only one with `single`. No
    statement for new ones at the end of a branch, unless others follow the message before."""
    if all("parent_id" in row for row in rows):
        shown = [contract.message(message_from_row(row)) for row in rows]
        return shown[0] if single else shown
    place = (rows[0]["user_id"], rows[0]["conversation_id"])
    ids = [row["id"] for row in rows]
    page = messages_with_ids(*place, ids, name_of_conversation=contract.id_name)
    if page is None:
        raise NotFound(NO_SUCH_MESSAGE)  # deleted meanwhile
    return orjson.Fragment(page.json) if single else as_array(page)


def as_array(page: MessagePage | None) -> orjson.Fragment:
    """The messages, ready to be sent."""
    return orjson.Fragment(b"[%b]" % page.json) if page else NONE


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _cut(page: MessagePage | None, order: Order) -> Cut:
    if page is None:
        return Cut(NONE, None, False)
    ends = (page.branch, page.first), (page.branch, page.last)
    return Cut(as_array(page), ends[::-1] if order.descending else ends, page.more)
