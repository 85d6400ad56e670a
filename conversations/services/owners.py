"""Whose conversation it is: from a `user_id` as clients write it to a user."""

from __future__ import annotations

import re

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from conversations.models import Caller
from conversations.services.errors import InvalidValue, NotFound
from conversations.services.values import check_text

# Users made for a number that a client sends get that number as their key. Numbers above this
# are refused, so that the keys handed out by the database can never run out.
LARGEST_NEW_USER_ID = 1_000_000_000
_LARGEST_USER_ID = 2**31 - 1
_digits = re.compile(r"[0-9]+")

NO_SUCH_USER = "No such user, or not one that you may act for."
EMPTY_USER = "Give a user's number or name."
LONG_USER = "Longer than 150 characters."
BIG_USER = f"A user's number is 1 to {_LARGEST_USER_ID:,}."
BIG_NEW_USER = f"There is no such user, and numbers above {LARGEST_NEW_USER_ID:,} are not created."

UserId = int | str


def parse_user_id(user_id: UserId, *, field: str = "user_id") -> UserId:
    """An int (the primary key) for digits, else the username; InvalidValue for neither."""
    if isinstance(user_id, str):
        check_text(field, user_id)
        user_id = user_id.strip()
        if not _digits.fullmatch(user_id):
            return _username(user_id, field)
        if len(user_id) > 150:
            raise InvalidValue(LONG_USER, field=field, code="max_length")
        user_id = int(user_id)
    if not 1 <= user_id <= _LARGEST_USER_ID:
        raise InvalidValue(BIG_USER, field=field)
    return user_id


def _username(text: str, field: str) -> str:
    """The name as Django stores it; normalising may make it longer than it was."""
    name = str(User.normalize_username(text[:151]))
    if len(name) > 150:
        raise InvalidValue(LONG_USER, field=field, code="max_length")
    if not name.strip():
        raise InvalidValue(EMPTY_USER, field=field, code="blank")
    return name


def find_owner(user_id: UserId, *, field: str = "user_id") -> User | None:
    """The user that `user_id` names, if there is one."""
    return _stored(parse_user_id(user_id, field=field))


def find_or_create_owner(user_id: UserId, *, field: str = "user_id") -> User:
    """The user that `user_id` names; made, without a usable password, where there is none."""
    wanted = parse_user_id(user_id, field=field)
    found = _stored(wanted)
    if found is not None:
        return found
    if isinstance(wanted, int) and wanted > LARGEST_NEW_USER_ID:
        raise InvalidValue(BIG_NEW_USER, field=field)
    try:
        with transaction.atomic():
            return _create(wanted)
    except IntegrityError:  # somebody else made it just now
        return User.objects.get(**_named(wanted))


def owner_id_for(caller: Caller, user_id: UserId | None, *, field: str = "user_id") -> int:
    """The key of the user to write for; a trusted client's first write creates that user."""
    if user_id is None or _is_caller(caller, parse_user_id(user_id, field=field)):
        return caller.user.pk
    if not caller.trusted:
        raise NotFound(NO_SUCH_USER, field=field)
    return find_or_create_owner(user_id, field=field).pk


def readable_owner_id(
    caller: Caller, user_id: UserId | None, *, field: str = "user_id"
) -> int | None:
    """The key of the user whose conversations to read; None for a user not seen so far."""
    if user_id is None or _is_caller(caller, parse_user_id(user_id, field=field)):
        return caller.user.pk
    if not caller.may_read_any:
        raise NotFound(NO_SUCH_USER, field=field)
    wanted = parse_user_id(user_id, field=field)
    if isinstance(wanted, int):
        return wanted  # nobody has conversations under a number that is no user's
    owner = _stored(wanted)
    return None if owner is None else owner.pk


def _is_caller(caller: Caller, wanted: UserId) -> bool:
    return wanted in (caller.user.pk, caller.user.username)


def _stored(wanted: UserId) -> User | None:
    return User.objects.filter(**_named(wanted)).first()


def _named(wanted: UserId) -> dict[str, UserId]:
    return {"pk": wanted} if isinstance(wanted, int) else {"username": wanted}


def _create(wanted: UserId) -> User:
    if isinstance(wanted, str):
        return User.objects.create_user(username=wanted)
    user = User.objects.create_user(pk=wanted, username=_free_username(wanted))
    _keep_sequence_ahead(wanted)
    return user


def _free_username(number: int) -> str:
    name = f"user-{number}"
    return f"{name}-{number}" if User.objects.filter(username=name).exists() else name


def _keep_sequence_ahead(number: int) -> None:
    """The next user that the database numbers itself must not get a number already given."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(sequence, GREATEST(%s, (SELECT last_value FROM pg_sequences "
            "WHERE quote_ident(schemaname) || '.' || quote_ident(sequencename) = sequence)))"
            " FROM pg_get_serial_sequence('auth_user', 'id') AS sequence",
            [number],
        )
