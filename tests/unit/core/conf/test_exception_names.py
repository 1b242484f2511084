"""How a rule may name an exception, and which names are refused at once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from jobs.core import conf
from jobs.core.conf.exception_names import ErrorRule, as_names, problem_of


@pytest.mark.parametrize(
    "given", [ValueError, KeyboardInterrupt, "ValueError", "timeout", "shop.errors.OutOfStock", "imaplib.IMAP4.abort"]
)
def test_what_names_an_exception(given: object) -> None:
    assert problem_of(given) == ""


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("ValueEror", "Did you mean 'ValueError'"),
        ("transiant", "Did you mean 'transient'"),
        ("", "no category"),
        ("OutOfStock", "dotted path"),
        ("shop..x", "dotted path"),
        ("a b.c", "dotted path"),
        (int, "no exception"),
        (5, "no exception class"),
        (ValueError(), "no exception class"),
        ("x." * 200, "dotted path"),
    ],
    ids=str,
)
def test_what_names_none(given: object, hint: str) -> None:
    assert hint in problem_of(given)


def test_classes_become_names_once_each() -> None:
    assert as_names([ValueError, "ValueError", "timeout"]) == ("ValueError", "timeout")


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("transient", ErrorRule("transient", None)),  # type: ignore[arg-type]  # the plain word is equal to it
        (False, ErrorRule(None, False)),
        ({"category": "user", "retry": True}, ErrorRule("user", True)),  # type: ignore[arg-type]
        ({"retry": False}, ErrorRule(None, False)),
    ],
    ids=str,
)
def test_a_rule_of_the_setting(given: Any, rule: ErrorRule) -> None:
    with override_settings(JOBS={"ERRORS": {"ValueError": given}}):
        assert {"ValueError": rule} == conf.settings.ERRORS


@pytest.mark.parametrize(
    "rules",
    [
        {"ValueEror": "user"},
        {5: "user"},
        {"ValueError": "transiant"},
        {"ValueError": 5},
        {"ValueError": {}},
        {"ValueError": {"category": "user", "again": True}},
        {"ValueError": {"retry": "yes"}},
        {"ValueError": []},
        {"ValueError": {"category": []}},
        [],
        "ValueError",
    ],
    ids=str,
)
def test_a_wrong_rule_is_a_problem_of_the_setting(rules: Any) -> None:
    with override_settings(JOBS={"ERRORS": rules}):
        problems = conf.problems()
    assert problems
    assert all("ERRORS" in problem.key for problem in problems)
