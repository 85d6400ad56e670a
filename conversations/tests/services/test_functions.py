"""The functions of the database: made by `migrate`, of two releases side by side."""

import gc

import pytest
from django.core.management import call_command
from django.db import connection

from conversations.db.functions import DatabaseFunction, install, missing
from conversations.db.owners import is_distributed
from conversations.management.unmigrated import NO_FUNCTIONS, remedy_for_missing_migrations
from conversations.services.functions import FUNCTIONS, missing_functions

ANSWER = "BEGIN RETURN {}; END"


def release(number):
    return DatabaseFunction(
        "answer", arguments=["given integer"], returns="integer", body=ANSWER.format(number)
    )


@pytest.fixture
def releases(db):
    yield [release(number) for number in (1, 2, 3)]
    install(FUNCTIONS)


@pytest.mark.django_db
def test_the_functions_are_there():
    assert missing_functions() == []


@pytest.mark.django_db
def test_they_have_one_plan_but_on_a_cluster_which_plans_for_the_owner():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT proconfig FROM pg_proc WHERE proname = ANY(%s)",
            [[function.name for function in FUNCTIONS]],
        )
        config = None if is_distributed() else ["plan_cache_mode=force_generic_plan"]
        assert cursor.fetchall() == [(config,)]


def test_all_that_are_defined_are_installed():
    defined = {one.name for one in gc.get_objects() if type(one) is DatabaseFunction}
    assert {one.name for one in FUNCTIONS} == {n for n in defined if "answer" not in n}


def test_two_releases_run_side_by_side_and_older_ones_are_dropped(releases):
    first, second, third = releases
    install([first])
    install([second])
    assert (first.rows(0), second.rows(0)) == ([(1,)], [(2,)])
    install([third])
    assert missing(releases) == [first.name]
    assert (second.rows(0), third.rows(0)) == ([(2,)], [(3,)])


def test_going_back_to_the_release_before_keeps_both(releases):
    first, second, _ = releases
    for functions in ([first], [second], [first]):
        install(functions)
    assert missing([first, second]) == []


def test_an_installation_that_is_current_writes_nothing(releases, statements):
    install(releases)
    with statements() as seen:
        install(releases)
    assert len(seen) == 1


@pytest.mark.django_db(transaction=True)
def test_a_missing_function_is_named_and_made_by_migrate():
    with connection.cursor() as cursor:
        cursor.execute(f"DROP FUNCTION {FUNCTIONS[0].name}")
    assert remedy_for_missing_migrations() == NO_FUNCTIONS
    call_command("migrate", verbosity=0)
    assert missing_functions() == []
