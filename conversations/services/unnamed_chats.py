"""The conversation of a history whose client does not say which one it is.

A recorded question has an id that derives from its text and that of the answer before it
(`models/turn_ids.py: question_ids`). A client that goes on sends the earlier questions again, so
that the last ones of them lead to the conversation: also after an edit, where the oldest messages
are left out, and where hundreds of conversations begin with "hi". What is found is compared as a
whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from conversations.formats import MessageDraft
from conversations.formats.sent_messages import asked, said
from conversations.models import Message, Role, Status
from conversations.models.turn_ids import asked_at, question_ids
from conversations.selectors.branches import children_of
from conversations.selectors.resent_paths import newest_with_ids
from conversations.services.locked_conversation import LockedConversation, lock_by_id
from conversations.services.resent_history import Found, find_stored

# How many of the last questions are looked up, and how many conversations of each.
_QUESTIONS = 3
_NEWEST = 5
# Of the answer before a question: one that was stopped may have grown since.
_CHARS_BEFORE = 200
# A first question that failed is asked again by the same client within this time.
RETRIED_WITHIN = timedelta(seconds=60)

_FAILED = {Status.FAILED, Status.INTERRUPTED}

Located = tuple[LockedConversation, Found]
_Fits = Callable[[LockedConversation, Found, uuid.UUID], bool]


def find_unnamed(
    owner_id: int, history: Sequence[MessageDraft], *, is_retry: bool
) -> Located | None:
    """The owner's conversation that holds this history, locked, and where it goes on.

    In a transaction. Such a conversation has the history at least up to its last answer, and one of
    the answers was given here: examples that a script sends with each request lead nowhere. Of
    several, the one with the newest question is taken in which the history goes on at the end of a
    branch, else the one with the newest question.

    A history without any answer is a new conversation. But it is found where its question has no
    complete answer, if the request is a retry, or the answers to it have failed just now.
    """
    questions = [at for at, draft in enumerate(history) if draft.role == Role.USER]
    if not any(draft.role == Role.ASSISTANT for draft in history):
        return _find_failed(owner_id, history, questions[-1:], is_retry)
    candidates = _candidates(owner_id, history, questions[-_QUESTIONS:])
    last_answer = max(at for at, draft in enumerate(history) if draft.role == Role.ASSISTANT)

    def holds_answers(_: LockedConversation, found: Found, asked_id: uuid.UUID) -> bool:
        return found.count > last_answer and any(row.is_answer for row in found.sent_again)

    def goes_on(conversation: LockedConversation, found: Found, asked_id: uuid.UUID) -> bool:
        at_an_end = found.ends or found.count == len(history)
        return at_an_end and holds_answers(conversation, found, asked_id)

    return _first_that(goes_on, owner_id, candidates, history) or _first_that(
        holds_answers, owner_id, candidates, history
    )


def _find_failed(
    owner_id: int, history: Sequence[MessageDraft], questions: Sequence[int], is_retry: bool
) -> Located | None:
    def is_open(conversation: LockedConversation, found: Found, asked_id: uuid.UUID) -> bool:
        last = found.last
        if last is None or found.count < len(history):
            return False
        ids = children_of(owner_id, conversation.id, [last.place])[last.place]
        answers = Message.objects.of(owner_id, conversation.id).filter(id__in=ids)
        statuses = set(answers.values_list("status", flat=True))
        if is_retry:
            return Status.COMPLETE not in statuses
        just_now = timezone.now() - asked_at(asked_id) < RETRIED_WITHIN
        return just_now and bool(statuses) and statuses <= _FAILED

    return _first_that(is_open, owner_id, _candidates(owner_id, history, questions), history)


def _candidates(
    owner_id: int, history: Sequence[MessageDraft], questions: Sequence[int]
) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """Conversations in which one of these questions was asked, and the id that it has there.

    First those that had one of the last two, the newest first: the last one of all may be asked
    again, or for the first time in a conversation that begins as an earlier one did.
    """
    if not questions:
        return []
    ranges = [question_ids(owner_id, *texts_of_question(history, at)) for at in questions]
    found = newest_with_ids(owner_id, ranges, limit=_NEWEST)
    earliest = ranges[0] if len(ranges) == _QUESTIONS else None

    def order(each: tuple[uuid.UUID, uuid.UUID]) -> tuple[bool, float]:
        is_earliest = earliest is not None and earliest[0] <= each[1] <= earliest[1]
        return is_earliest, -asked_at(each[1]).timestamp()

    first: dict[uuid.UUID, uuid.UUID] = {}
    for conversation_id, id_ in sorted(found, key=order):
        first.setdefault(conversation_id, id_)
    return list(first.items())


def _first_that(
    fits: _Fits,
    owner_id: int,
    candidates: Sequence[tuple[uuid.UUID, uuid.UUID]],
    history: Sequence[MessageDraft],
) -> Located | None:
    """The first of the conversations that fits, locked; the others are not."""
    for conversation_id, asked_id in candidates:
        place = transaction.savepoint()
        conversation = lock_by_id(owner_id, conversation_id)
        if conversation is not None:
            found = find_stored(conversation, history)
            if fits(conversation, found, asked_id):
                return conversation, found
        transaction.savepoint_rollback(place)
    return None


def texts_of_question(history: Sequence[MessageDraft], at: int) -> tuple[str, str]:
    """The text of the answer before a question, and its own, from which its id derives."""
    earlier = (draft for draft in reversed(history[:at]) if draft.role == Role.ASSISTANT)
    before = next(earlier, None)
    return said(before.content)[:_CHARS_BEFORE] if before else "", asked(
        history[at].content
    ).strip()
