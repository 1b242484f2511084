"""Checks of the options that say what becomes of a failure. Knows words and types, no database."""

from __future__ import annotations

from typing import Any

from jobs.core.conf.exception_names import problem_of
from jobs.core.options import validators
from jobs.exceptions import InvalidOption, shown


def multiplier(name: str, value: object) -> None:
    """By how much each wait is longer than the one before."""
    _refuse(name, validators.multiplier(value))


def flag_or_none(name: str, value: object) -> None:
    """True, False or nothing said."""
    _refuse(name, "" if value is None or isinstance(value, bool) else f"{value!r:.60} must be True, False or None")


def errors(name: str, value: object) -> None:
    """Exception classes, their names, categories."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        _refuse(name, f"{shown(value)} must be a tuple of exceptions, or of their names")
    else:
        _refuse(name, next(filter(None, map(problem_of, value)), ""))


def fallback(name: str, value: object) -> None:
    """A job, or the name of one, or none."""
    if value is None or isinstance(value, str) or isinstance(getattr(value, "name", None), str):
        _refuse(name, validators.words(name_of(value)))
    else:
        _refuse(name, f"{shown(value)} is no job, nor the name of one")


def name_of(task: Any) -> str:
    """A task's name: by name it may be one that this process does not know."""
    return task if isinstance(task, str) else str(getattr(task, "name", ""))


def _refuse(name: str, problem: str) -> None:
    if problem:
        raise InvalidOption(f"{name}: {problem}", option=name)
