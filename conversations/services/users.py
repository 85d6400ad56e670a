"""Which user a `user_id` means, in the eyes of the caller who sends it; who may act for whom."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from conversations.models import AccessAction, AccessContext, Caller
from conversations.models.user_names import (
    LARGEST_EXACT_NUMBER,
    MARK,
    MAX_USERNAME_CHARS,
    is_namespace,
    namespace_of,
    username_of,
)
from conversations.services.audit import record_act
from conversations.services.characters import described, is_hidden
from conversations.services.errors import InvalidValue, NotAllowed, NotFound
from conversations.services.validators import check_text

UserId = int | str

BAD_NAME = "invalid_name"
# Means all users that the caller may see, in lists and searches.
EVERYBODY = "*"
# What bytes of an address that are no UTF-8 are read as: different names would become one.
UNDECODED = "\ufffd"

NO_SUCH_USER = "No such user, or not one that you may act for."
NOT_FOR_STAFF = "A trusted client does not act for a staff account."
NOT_EVERYBODY = "Only a trusted client or staff may ask for everybody's conversations."
EMPTY_USER = "Give a user's name."
LONG_USER = f"Longer than {MAX_USERNAME_CHARS} characters, its namespace included."
INEXACT_USER = (
    f"A number that names a user is 0 to {LARGEST_EXACT_NUMBER:,}; larger ones are not exact in "
    "every JSON reader and are sent as text."
)
NOT_A_NAME = f"`{EVERYBODY}` stands for everybody and is no user's name."
WHITE_SPACE_AROUND = "A name has no white space around it: {char}."
NOT_IN_A_NAME = "A name may not hold the character {char}."


def check_name(user_id: UserId, *, field: str = "user_id") -> str:
    """A user's name within a namespace, exactly as it was sent; InvalidValue names the character.

    A whole number is the name of its digits. Refused are control, format (zero-width,
    bidirectional), private and unassigned characters, what NFKC would change, and white space
    around it: with them two names could look alike, or one could be stored as another.
    """
    if isinstance(user_id, int):
        if not 0 <= user_id <= LARGEST_EXACT_NUMBER:
            raise InvalidValue(INEXACT_USER, field=field)
        user_id = str(user_id)
    check_text(field, user_id)
    if not user_id:
        raise InvalidValue(EMPTY_USER, field=field, code="blank")
    if len(user_id) > MAX_USERNAME_CHARS:
        raise InvalidValue(LONG_USER, field=field, code="max_length")
    if user_id == EVERYBODY:
        raise InvalidValue(NOT_A_NAME, field=field, code=BAD_NAME)
    if wrong := _first_refused(user_id):
        raise InvalidValue(NOT_IN_A_NAME.format(char=described(wrong)), field=field, code=BAD_NAME)
    for end in (user_id[0], user_id[-1]):
        if end.isspace():
            raise InvalidValue(
                WHITE_SPACE_AROUND.format(char=described(end)), field=field, code=BAD_NAME
            )
    return user_id


def _first_refused(name: str) -> str | None:
    for end, char in enumerate(name, start=1):
        # With what stands before it: NFKC composes a letter and the accent after it.
        if is_hidden(char) or char == UNDECODED:
            return char
        if not unicodedata.is_normalized("NFKC", name[:end]):
            return char
    return None


def username_from(
    user_id: UserId, *, namespace: str = "", absolute: bool = False, field: str = "user_id"
) -> str:
    """The username of whom a caller of this namespace calls `user_id`. Raises InvalidValue.

    `absolute`: `namespace：name` (with U+FF1A) names a user of any namespace, `：name` of none.
    """
    if absolute and isinstance(user_id, str) and MARK in user_id:
        namespace, _, user_id = user_id.partition(MARK)
        if namespace and not is_namespace(namespace):
            raise InvalidValue(
                NOT_IN_A_NAME.format(char=described(MARK)), field=field, code=BAD_NAME
            )
    username = username_of(check_name(user_id, field=field), namespace)
    if len(username) > MAX_USERNAME_CHARS:
        raise InvalidValue(LONG_USER, field=field, code="max_length")
    return username


def find_user(user_id: UserId, *, namespace: str = "", field: str = "user_id") -> User | None:
    """The user of this name in the namespace, or in none; for scripts, by any name."""
    return _stored(username_from(user_id, namespace=namespace, absolute=True, field=field))


def find_or_create_user(user_id: UserId, *, namespace: str = "", field: str = "user_id") -> User:
    """The same; made, without a usable password, where there is none."""
    username = username_from(user_id, namespace=namespace, absolute=True, field=field)
    return _find_or_create(username, field)


def similar_names(user: User) -> list[str]:
    """Usernames that differ from this user's in case alone."""
    others = User.objects.filter(username__iexact=user.username).exclude(pk=user.pk)
    return list(others.order_by("username").values_list("username", flat=True)[:10])


def owner_to_write_for(
    access: AccessContext,
    user_id: UserId | None,
    *,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> User:
    """The user in whose name a conversation is begun or found: the caller, unless named.

    A trusted client's first write creates that user. Staff who may write for others leave an
    AccessRecord. Raises InvalidValue, NotFound, NotAllowed, ReasonRequired.
    """
    caller, username = _named(access, user_id, field)
    if username is None:
        return caller.user
    if caller.trusted:
        owner = _find_or_create(username, field)
        _check_no_staff(owner, field)
    elif caller.writer:
        owner = _stored_or_not_found(username, field)
    else:
        raise NotFound(NO_SUCH_USER, field=field)
    record_act(access, AccessAction.CHANGE, owner=owner, detail=detail)
    return owner


def owner_to_read(
    access: AccessContext,
    user_id: UserId | None,
    *,
    action: AccessAction = AccessAction.READ,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> User | None:
    """The user whose conversations are listed or searched; None for a user not seen so far.

    A look of staff leaves an AccessRecord. Raises InvalidValue, NotFound, NotAllowed,
    ReasonRequired.
    """
    caller, username = _named(access, user_id, field)
    if username is None:
        return caller.user
    if not caller.may_read_any:
        raise NotFound(NO_SUCH_USER, field=field)
    owner = _stored(username)
    if owner is None:
        return None
    if caller.trusted:
        _check_no_staff(owner, field)
    record_act(access, action, owner=owner, detail=detail)
    return owner


def check_everybody(
    access: AccessContext,
    *,
    action: AccessAction = AccessAction.READ,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Whether the caller may ask for everybody's conversations; staff leave an AccessRecord.

    Raises NotAllowed, ReasonRequired.
    """
    if access.caller is not None and not access.caller.may_read_any:
        raise NotAllowed(NOT_EVERYBODY, field=field)
    record_act(access, action, owner=None, detail=detail)


def _named(access: AccessContext, user_id: UserId | None, field: str) -> tuple[Caller, str | None]:
    """The caller, and the username that is meant; None where that is the caller's own.

    Whoever is outside of a trusted client's namespace is not looked up: it makes no difference
    whether there is such a user.
    """
    caller = access.caller
    if caller is None:
        raise TypeError("a script names the owner by `find_or_create_user`")
    if user_id is None:
        return caller, None
    username = username_from(
        user_id, namespace=caller.namespace, absolute=_says_absolute(caller, user_id), field=field
    )
    if username == caller.user.username:
        return caller, None
    if caller.trusted and namespace_of(username) != caller.namespace:
        raise NotFound(NO_SUCH_USER, field=field)
    return caller, username


def _says_absolute(caller: Caller, user_id: UserId) -> bool:
    """Staff see the users of every namespace, by their usernames; a caller of a namespace knows
    one from outside of it, which is itself."""
    return caller.reader or (bool(caller.namespace) and str(user_id).startswith(MARK))


def _check_no_staff(owner: User, field: str) -> None:
    """Of whom a trusted client acts for."""
    if owner.is_staff or owner.is_superuser:
        raise NotAllowed(NOT_FOR_STAFF, field=field)


def _stored_or_not_found(username: str, field: str) -> User:
    owner = _stored(username)
    if owner is None:
        raise NotFound(NO_SUCH_USER, field=field)
    return owner


def _stored(username: str) -> User | None:
    return User.objects.filter(username=username).first()


def _find_or_create(username: str, field: str) -> User:
    found = _stored(username)
    if found is not None:
        return found
    user = User(username=username)  # as it is: Django's own maker would normalise it
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:  # somebody else made it just now, and may have erased it since
        return _stored_or_not_found(username, field)
    return user
