"""The caller of an operation with its rights, IP address and reason, for access checks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from conversations.models.rights import ACT_FOR_ANY_USER, VIEW_CONTENT, VIEW_CONVERSATION
from conversations.models.user_names import name_of, namespace_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Caller:
    """A user, with the rights that they have on conversations of other users.

    `trusted`, `namespace`, `delegated` and `expires_at` are those of the ApiToken, whose id is
    `token_id` (None for a login session); a trusted caller acts for the users of its namespace
    ("": those without one). `reader` and `writer` are rights of staff to read or write
    conversations of any user; each use stores an AccessRecord.
    """

    user: User
    trusted: bool = False
    namespace: str = ""
    reader: bool = False
    writer: bool = False
    delegated: bool = False
    expires_at: datetime | None = None
    token_id: uuid.UUID | None = None

    @classmethod
    def of(cls, user: User) -> Self:
        """A user who logged in without a token; staff rights come from Django's permissions."""
        if not user.is_staff:
            return cls(user=user, namespace=namespace_of(user.username))
        reader = user.has_perms([VIEW_CONVERSATION, VIEW_CONTENT])
        return cls(user=user, reader=reader, writer=reader and user.has_perm(ACT_FOR_ANY_USER))

    @property
    def is_staff(self) -> bool:
        return self.user.is_staff or self.user.is_superuser

    @property
    def may_read_any(self) -> bool:
        return self.trusted or self.reader

    def owns(self, owner_id: int) -> bool:
        return self.user.pk == owner_id

    def name_of(self, owner: User) -> int | str:
        """The user's name relative to the caller's namespace: the `user_id` of the API."""
        return name_of(owner.username, self.namespace)


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Created once for each request or command, and passed to every service.

    `caller` is None for a script on the server. `address` is the IP address of the client;
    `reason` is why staff access another user's conversations ("" if not given).
    """

    caller: Caller | None
    address: str | None = None
    reason: str = ""

    def leaves_record(self, owner_id: int | None) -> bool:
        """Whether access to this owner's conversations (None: all owners') needs an AccessRecord:
        the caller is staff and not the owner."""
        if self.caller is None or not self.caller.is_staff:
            return False
        return owner_id is None or not self.caller.owns(owner_id)
