"""`--help` of every command ends in examples of itself."""

import re
from importlib import import_module
from pkgutil import iter_modules

import pytest

from conversations.management import commands

NAMES = sorted(module.name for module in iter_modules(commands.__path__))


def help_of(name):
    command = import_module(f"{commands.__name__}.{name}").Command()
    return command.create_parser("manage.py", name).format_help()


def test_there_are_commands():
    assert {"doctor", "quickstart", "backup"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_examples_of_itself(name):
    _, _, examples = help_of(name).partition("\nExamples:\n")
    lines = [line for line in examples.replace("\\\n", "").splitlines() if line.strip()]
    assert lines
    assert all(re.search(rf"manage\.py {name}\b", line) for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_its_exit_status(name):
    assert re.search(r"Exit\s+status", help_of(name))
