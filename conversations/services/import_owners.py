"""Whose the conversations of a file are: one user's, or those whom the file names."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from conversations.formats import Chat
from conversations.models.user_names import username_of
from conversations.services.errors import InvalidValue
from conversations.services.users import find_or_create_user, find_user, username_from

# `OwnersFrom.field` for the owner that the format itself has a place for.
OWNER = "owner"
_METADATA = "metadata."

NO_OWNER = "The conversation does not say whose it is."
NOT_FOR_STAFF = "An account of staff gets no conversations from others."
NOT_A_NAME = "Not the name of a user: a text or a whole number."


@dataclass(frozen=True, slots=True)
class OwnersFrom:
    """Owners that a file names: in `owner`, or in its metadata under a path (`customer.id`).

    They are users of the namespace, made where there are none; never staff, unless `with_staff`.
    Without a namespace a name may say its own, as exports do.
    """

    field: str
    namespace: str = ""
    with_staff: bool = False

    @property
    def path(self) -> str:
        """Where the name is, as refusals say."""
        if self.field == OWNER:
            return OWNER
        return f"{_METADATA}{self.field.removeprefix(_METADATA)}"

    def username_of(self, chat: Chat) -> str:
        """Raises InvalidValue, naming the field."""
        field = self.path
        value = cast("Any", chat.owner)
        if field != OWNER:
            value = _value_at(chat.metadata, field.removeprefix(_METADATA))
        if value is None:
            raise InvalidValue(NO_OWNER, field=field)
        if not isinstance(value, str) and type(value) is not int:
            raise InvalidValue(NOT_A_NAME, field=field)
        absolute = not self.namespace or str(value).startswith(username_of("", self.namespace))
        return username_from(value, namespace=self.namespace, absolute=absolute, field=field)


def _value_at(metadata: dict[str, Any], path: str) -> Any:
    value: Any = metadata
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def owner_to_import_for(user_id: str, *, namespace: str = "", dry_run: bool = False) -> int:
    """The id of the user of this name, who is created if there is none; of nobody in a dry run.

    Raises InvalidValue for a name that none can have.
    """
    if not dry_run:
        return find_or_create_user(user_id, namespace=namespace).pk
    user = find_user(user_id, namespace=namespace)
    return _nobody(user_id) if user is None else user.pk


def ids_of_owners(
    usernames: Collection[str], *, with_staff: bool = False, dry_run: bool = False
) -> dict[str, int]:
    """The ids of these users, who are created where there are none; without those of staff, unless
    `with_staff`.

    In a dry run nobody is created: whom there is not has an id that no user has.
    """
    found = _stored(usernames)
    missing = set(usernames) - found.keys()
    if missing and dry_run:
        return _ids_of(found, with_staff) | {name: _nobody(name) for name in missing}
    if missing:
        new = [User(username=name, password=make_password(None)) for name in sorted(missing)]
        User.objects.bulk_create(new, ignore_conflicts=True)
        found |= _stored(missing)
    return _ids_of(found, with_staff)


def _stored(usernames: Collection[str]) -> dict[str, User]:
    users = User.objects.filter(username__in=usernames)
    return {
        user.username: user for user in users.only("pk", "username", "is_staff", "is_superuser")
    }


def _ids_of(users: dict[str, User], with_staff: bool) -> dict[str, int]:
    return {
        name: user.pk
        for name, user in users.items()
        if with_staff or not (user.is_staff or user.is_superuser)
    }


def _nobody(username: str) -> int:
    """The same for the same name, so that two users' conversations are told apart."""
    digest = hashlib.sha256(username.encode()).digest()
    return -1 - int.from_bytes(digest[:8])
