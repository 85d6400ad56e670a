"""Who asks for something, from where and why: what services and QuerySets decide rights by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from conversations.models.rights import ACT_FOR_ANY_USER, VIEW_CONTENT, VIEW_CONVERSATION
from conversations.models.user_names import name_of, namespace_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Caller:
    """A user with the rights that reach beyond their own conversations.

    `trusted` and `namespace` are the token's: an application that acts for the users of its
    namespace, or for those of none. `reader` and `writer` are those of staff: may read, may write
    in, anybody's conversations; each such act leaves an AccessRecord. `delegated` and `expires_at`
    are the token's.
    """

    user: User
    trusted: bool = False
    namespace: str = ""
    reader: bool = False
    writer: bool = False
    delegated: bool = False
    expires_at: datetime | None = None

    @classmethod
    def of(cls, user: User) -> Self:
        """A user without a token; staff rights are asked from Django's permissions."""
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
        """What this caller calls a user: the `user_id` of the API."""
        return name_of(owner.username, self.namespace)


@dataclass(frozen=True, slots=True)
class AccessContext:
    """Made where a request or command comes in. `caller` None is a script on the server.

    `address` is the client's IP address; `reason` is why staff look at somebody else's
    conversations, "" where none was given.
    """

    caller: Caller | None
    address: str | None = None
    reason: str = ""

    def leaves_record(self, owner_id: int | None) -> bool:
        """Whether an act on this owner's conversations (None: everybody's) is one of staff on
        somebody else's."""
        if self.caller is None or not self.caller.is_staff:
            return False
        return owner_id is None or not self.caller.owns(owner_id)
