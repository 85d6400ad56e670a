"""Caller: the user on whose behalf a read or a write happens, and what they may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from conversations.models.rights import ACT_FOR_ANY_USER, VIEW_CONTENT, VIEW_CONVERSATION

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True)
class Caller:
    """A user with the two rights that reach beyond their own conversations.

    `trusted`: may read and write for any user. `reader`: staff who may read any and what was
    said in it; each such read leaves an AccessRecord.
    """

    user: User
    trusted: bool = False
    reader: bool = False

    @classmethod
    def of(cls, user: User) -> Self:
        """The caller with their rights asked from Django's permissions (up to two queries)."""
        return cls(
            user=user,
            trusted=user.has_perm(ACT_FOR_ANY_USER),
            reader=user.is_staff and user.has_perms([VIEW_CONVERSATION, VIEW_CONTENT]),
        )

    @property
    def may_read_any(self) -> bool:
        return self.trusted or self.reader

    def owns(self, owner_id: int) -> bool:
        return self.user.pk == owner_id

    def may_write_for(self, owner_id: int) -> bool:
        return self.trusted or self.owns(owner_id)

    def leaves_record(self, owner_id: int | None) -> bool:
        """Whether reading this owner's conversations (None: everybody's) is a look at others'."""
        return self.user.is_staff and (owner_id is None or not self.owns(owner_id))
