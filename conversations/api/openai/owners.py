"""Whose conversation a request is about: who a trusted token says that it acts for.

For every other token the headers are ignored: it acts for its own user.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from rest_framework.request import Request

from conversations.api.views import decoded
from conversations.models import AccessAction, AccessContext
from conversations.services import NotFound, owner_of, owner_to_read, owner_to_write_for
from conversations.services.errors import NO_SUCH_CONVERSATION

HEADER = "X-User-Id"


def owner_named(
    request: Request, access: AccessContext, body: Mapping[str, Any] | None = None
) -> User | None:
    """The user for whom a trusted client writes, who is created where there is none of the name;
    None where nobody is named, or the token is not trusted: it writes for its own user.

    `body` is that of a request whose body may name the user. Raises InvalidValue, NotFound,
    NotAllowed.
    """
    name = name_of_owner(request, access, body)
    return None if name is None else owner_to_write_for(access, name, field=HEADER)


def name_of_owner(
    request: Request, access: AccessContext, body: Mapping[str, Any] | None = None
) -> str | None:
    """The name by which a trusted client calls the user, within its namespace."""
    caller = access.caller
    if caller is None or not caller.trusted:
        return None
    return decoded(request.headers.get(HEADER, "")) or None


def check_owner(request: Request, access: AccessContext, conversation_id: uuid.UUID) -> None:
    """NotFound where the request names a user and the conversation is another one's.

    An application sets the header once for each of its users: an id that one of them has from
    another must not lead anywhere.
    """
    name = name_of_owner(request, access)
    if name is None:
        return
    named = owner_to_read(access, name, field=HEADER)
    if named != owner_of(access, conversation_id, action=AccessAction.READ):
        raise NotFound(NO_SUCH_CONVERSATION)
