"""Resolve a `user_id` relative to the caller's namespace, and check who may act for whom."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from conversations.db import replicas
from conversations.models import AccessAction, AccessContext, Caller
from conversations.models.user_names import (
    LARGEST_EXACT_NUMBER,
    MAX_NAMESPACE_CHARS,
    MAX_USERNAME_CHARS,
    NAMESPACE_SEPARATOR,
    is_namespace,
    namespace_of,
    username_of,
)
from conversations.services.audit import note_write, record_act
from conversations.services.characters import described, is_hidden
from conversations.services.errors import InvalidValue, NotAllowed, NotFound
from conversations.services.validators import check_text

UserId = int | str

BAD_NAME = "invalid_name"
# The `user_id` for all users that the caller may see, in lists and searches.
EVERYBODY = "*"
# The replacement of invalid UTF-8 in a URL: different names would become equal.
UNDECODED = "\ufffd"

NO_SUCH_USER = "No such user, or you may not act for them."
NOT_FOR_STAFF = "A trusted client cannot act for a staff account."
NOT_EVERYBODY = "Only a trusted client or staff may access the conversations of all users."
EMPTY_USER = "The name of a user may not be empty."
LONG_USER = f"Longer than {MAX_USERNAME_CHARS} characters, including the namespace."
INEXACT_USER = (
    f"As a number, a user_id must be 0 to {LARGEST_EXACT_NUMBER:,}. Send a larger one as a string: "
    "not every JSON parser represents it exactly."
)
NOT_A_NAME = f"`{EVERYBODY}` means all users and cannot be the name of a user."
BAD_NAMESPACE = (
    f"A namespace has at most {MAX_NAMESPACE_CHARS} lower-case ASCII letters, digits, `.`, `_` "
    "and `-`, and starts with a letter or digit."
)
WHITE_SPACE_AROUND = "A name may not start or end with white space: {char}."
NOT_IN_A_NAME = "A name may not contain the character {char}."


def check_name(user_id: UserId, *, field: str = "user_id") -> str:
    """Validate the name of a user within a namespace; an integer becomes its digits.

    Raises InvalidValue, naming the character, for control, format (zero-width, bidirectional),
    private use and unassigned characters, for text that is not in NFKC, and for leading or
    trailing white space: these would allow different names that look the same.
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
    if invalid := _first_invalid_char(user_id):
        raise InvalidValue(
            NOT_IN_A_NAME.format(char=described(invalid)), field=field, code=BAD_NAME
        )
    for end in (user_id[0], user_id[-1]):
        if end.isspace():
            raise InvalidValue(
                WHITE_SPACE_AROUND.format(char=described(end)), field=field, code=BAD_NAME
            )
    return user_id


def _first_invalid_char(name: str) -> str | None:
    for end, char in enumerate(name, start=1):
        # Together with the preceding text: NFKC composes a letter and a following accent.
        if is_hidden(char) or char == UNDECODED:
            return char
        if not unicodedata.is_normalized("NFKC", name[:end]):
            return char
    return None


def username_from(
    user_id: UserId, *, namespace: str = "", absolute: bool = False, field: str = "user_id"
) -> str:
    """The username for a `user_id` that is relative to `namespace`. Raises InvalidValue.

    With `absolute`, `namespace：name` (with U+FF1A) is a user of that namespace, and `：name` a
    user without one.
    """
    if absolute and isinstance(user_id, str) and NAMESPACE_SEPARATOR in user_id:
        namespace, _, user_id = user_id.partition(NAMESPACE_SEPARATOR)
        if namespace and not is_namespace(namespace):
            raise InvalidValue(
                NOT_IN_A_NAME.format(char=described(NAMESPACE_SEPARATOR)),
                field=field,
                code=BAD_NAME,
            )
    username = username_of(check_name(user_id, field=field), namespace)
    if len(username) > MAX_USERNAME_CHARS:
        raise InvalidValue(LONG_USER, field=field, code="max_length")
    return username


def check_namespace(namespace: str) -> None:
    """Raise InvalidValue unless it is one, or "" for none."""
    if namespace and not is_namespace(namespace):
        raise InvalidValue(BAD_NAMESPACE, field="namespace")


def find_user(user_id: UserId, *, namespace: str = "", field: str = "user_id") -> User | None:
    """The user with this name in the namespace, or with this absolute name; None if there is none.

    For scripts. Raises InvalidValue.
    """
    return _stored(username_from(user_id, namespace=namespace, absolute=True, field=field))


def find_or_create_user(user_id: UserId, *, namespace: str = "", field: str = "user_id") -> User:
    """As `find_user`; creates the user, without a usable password, if there is none."""
    username = username_from(user_id, namespace=namespace, absolute=True, field=field)
    return _find_or_create(username, field)


def similar_names(user: User) -> list[str]:
    """Other usernames that equal this user's except for case; at most 10."""
    others = User.objects.filter(username__iexact=user.username).exclude(pk=user.pk)
    return list(others.order_by("username").values_list("username", flat=True)[:10])


def owner_to_write_for(
    access: AccessContext,
    user_id: UserId | None,
    *,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> User:
    """The user whose conversation is created or continued: the caller, unless `user_id` is given.

    Creates the user for a trusted client. Stores an AccessRecord for staff. Raises InvalidValue,
    NotFound, NotAllowed, ReasonRequired.
    """
    caller, username = _resolved(access, user_id, field)
    if username is None:
        note_write(access, caller.user)
        return caller.user
    if caller.trusted:
        owner = _find_or_create(username, field)
        _check_not_staff(owner, field)
    elif caller.writer:
        owner = _stored_or_not_found(username, field)
    else:
        raise NotFound(NO_SUCH_USER, field=field)
    record_act(access, AccessAction.CHANGE, owner=owner, detail=detail)
    note_write(access, owner)
    return owner


def note_person(user: User, *, email: str = "", name: str = "") -> None:
    """Keep the email address and the name that an application says a user has, where none is known:
    by them staff find a user whose username is an id. What cannot be kept is left out."""
    given = {"email": (email, 254), "first_name": (name, 150)}
    known = {
        field: text
        for field, (text, limit) in given.items()
        if text and len(text) <= limit and text.isprintable() and not getattr(user, field)
    }
    if known:
        User.objects.filter(pk=user.pk).update(**known)


def owner_to_read(
    access: AccessContext,
    user_id: UserId | None,
    *,
    action: AccessAction = AccessAction.READ,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> User | None:
    """The user whose conversations are listed or searched; None for an unknown user.

    Stores an AccessRecord for staff. Raises InvalidValue, NotFound, NotAllowed, ReasonRequired.
    """
    caller, username = _resolved(access, user_id, field)
    if username is None:
        replicas.reads_of(caller.user.pk)
        return caller.user
    if not caller.may_read_any:
        raise NotFound(NO_SUCH_USER, field=field)
    owner = _stored(username)
    if owner is None:
        return None
    if caller.trusted:
        _check_not_staff(owner, field)
    record_act(access, action, owner=owner, detail=detail)
    replicas.reads_of(owner.pk)
    return owner


def check_everybody(
    access: AccessContext,
    *,
    action: AccessAction = AccessAction.READ,
    field: str = "user_id",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Check that the caller may access the conversations of all users.

    Stores an AccessRecord for staff. Raises NotAllowed, ReasonRequired.
    """
    if access.caller is not None and not access.caller.may_read_any:
        raise NotAllowed(NOT_EVERYBODY, field=field)
    record_act(access, action, owner=None, detail=detail)
    if access.caller is not None and not access.caller.trusted:
        replicas.reads_of(access.caller.user.pk)


def _resolved(
    access: AccessContext, user_id: UserId | None, field: str
) -> tuple[Caller, str | None]:
    """The caller, and the username for `user_id`; None if it is the caller's own.

    For a trusted client, a user outside its namespace is NotFound without a query, whether or not
    the user exists.
    """
    caller = access.caller
    if caller is None:
        raise TypeError("a script names the owner by `find_or_create_user`")
    if user_id is None:
        return caller, None
    username = username_from(
        user_id, namespace=caller.namespace, absolute=_is_absolute(caller, user_id), field=field
    )
    if username == caller.user.username:
        return caller, None
    if caller.trusted and namespace_of(username) != caller.namespace:
        raise NotFound(NO_SUCH_USER, field=field)
    return caller, username


def _is_absolute(caller: Caller, user_id: UserId) -> bool:
    """Staff use the usernames of all namespaces. Other callers in a namespace can name only one
    user outside it: themselves."""
    return caller.reader or (
        bool(caller.namespace) and str(user_id).startswith(NAMESPACE_SEPARATOR)
    )


def _check_not_staff(owner: User, field: str) -> None:
    """Raise NotAllowed if a trusted client may not act for this user."""
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
    user = User(username=username)  # not create_user(), which would normalise the name
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:  # created concurrently, and perhaps erased since
        return _stored_or_not_found(username, field)
    return user
