"""docs/commands.md names every command and every option of it, and none that is not there."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from jobs.management.arguments import FILTERS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "commands.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))
COMMANDS = {name: app for name, app in get_commands().items() if name.startswith("jobs_")}


def options(command: BaseCommand, name: str) -> set[str]:
    """The options of a command, without those of the parser that every command of Django has."""
    actions = command.create_parser("manage.py", name)._actions
    return {option for action in actions for option in action.option_strings if option.startswith("--")}


DJANGO = options(BaseCommand(), "any")


def documented(section: str) -> set[str]:
    """The options that the tables of a section list first in a row."""
    return set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    section = SECTIONS[name]
    listed = documented(section)
    if "[filters](#filters)" in section:
        listed |= documented(SECTIONS["Filters"])
    assert listed == options(load_command_class(COMMANDS[name], name), name) - DJANGO


def test_every_command_is_documented_and_no_other() -> None:
    assert {name for name in SECTIONS if name.startswith("jobs_")} == set(COMMANDS)


def test_the_filters_are_those_of_the_code() -> None:
    assert documented(SECTIONS["Filters"]) == {f"--{name}" for name in FILTERS}
