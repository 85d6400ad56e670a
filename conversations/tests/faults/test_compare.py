"""The comparison by which the fault scripts judge finds what is wrong."""

from bench.faults.appending import LOST, Outcome, Sent, compare

FIRST = Sent("chat", "a", first_sent=1, sent=1, acknowledged=2, id="1", sequence=1)
SECOND = Sent("chat", "b", first_sent=3, sent=3, acknowledged=4, id="2", sequence=2)
UNANSWERED = Sent("chat", "c", first_sent=3)
ROWS = [("1", 1, "a"), ("2", 2, "b")]


def found(rows, messages=(FIRST, SECOND, UNANSWERED), counters=None):
    outcome = Outcome(messages=list(messages))
    compare(outcome, list(messages), rows, counters or (len(rows), len(rows)))
    return outcome.lost, outcome.doubled, outcome.disordered


def test_rows_as_they_were_acknowledged():
    assert found(ROWS) == (0, 0, 0)


def test_one_that_was_stored_without_an_answer_is_no_fault():
    assert found([*ROWS, ("3", 3, "c")]) == (0, 0, 0)


def test_a_lost_message():
    assert found(ROWS[:1]) == (1, 0, 0)


def test_a_message_that_is_there_twice_or_that_nobody_sent():
    assert found([*ROWS, ("3", 3, "b")])[1] == 1
    assert found([*ROWS, ("3", 3, "x")])[1] == 1


def test_a_sequence_that_is_not_the_acknowledged_one():
    assert found([("1", 1, "a"), ("3", 2, "c"), ("2", 3, "b")])[2] == 1


def test_a_gap_in_the_sequences():
    last = Sent("chat", "b", first_sent=3, sent=3, acknowledged=4, id="2", sequence=3)
    assert found([("1", 1, "a"), ("2", 3, "b")], [FIRST, last])[2] == 1


def test_a_message_before_one_that_was_acknowledged_before_it_was_sent():
    early = Sent("chat", "b", first_sent=3, sent=3, acknowledged=4, id="2", sequence=1)
    late = Sent("chat", "a", first_sent=1, sent=1, acknowledged=2, id="1", sequence=2)
    assert found([("2", 1, "b"), ("1", 2, "a")], [early, late])[2] == 1


def test_counters_that_are_not_those_of_the_rows():
    assert found(ROWS, counters=(3, 2))[2] == 1


def test_answers_that_must_not_be():
    outcome = Outcome()
    outcome.answers.update({"201": 2, "503 with Retry-After": 1, LOST: 1})
    assert outcome.failures(connections_are_lost=True) == []
    assert outcome.failures(connections_are_lost=False) == [f"1 x {LOST}"]
    outcome.answers["503"] += 1
    assert outcome.failures(connections_are_lost=True) == ["1 x 503"]


def test_a_fault_after_which_nothing_is_acknowledged():
    outcome = Outcome(messages=[FIRST], faults=[1.5])
    assert outcome.failures(connections_are_lost=True) == ["it has not recovered"]
    outcome.messages.append(SECOND)
    assert outcome.recoveries == [2.5]
    assert outcome.longest_gap == 2
