"""What a key of the JOBS setting may be: a rule takes the value, answers the one to use, and tells what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from jobs.core.conf.exception_names import ErrorRule, problem_of
from jobs.exceptions import did_you_mean, shown
from jobs.states import ErrorCategory

_LONGEST = 10**10  # seconds, three centuries: beyond it dates overflow
CRITICAL_APART = 10**8  # seconds, three years: who waits for less has no rank above a critical job that comes now
_MOST = 2**31 - 1  # what an integer column holds
_CATEGORIES = f"Categories: {', '.join(ErrorCategory)}."


class Problem(NamedTuple):
    """One thing wrong with the JOBS setting."""

    key: str  # "JOBS['RETRY']['max_retries']"
    message: str  # one sentence with the key and the value
    hint: str  # what to do about it
    unknown: bool = False  # there is no such key: ignored with a warning. Otherwise the value is wrong: refused


# Takes the key's full name and its value; answers the value to use, and adds to the list what is wrong.
_Rule = Callable[[str, Any, list[Problem]], Any]


def must(be: str, fits: Callable[[Any], bool], use: Callable[[Any], Any] = lambda value: value) -> _Rule:
    def rule(key: str, value: Any, problems: list[Problem]) -> Any:
        if fits(value):
            return use(value)
        hint = "Correct the value, or leave the key out to have its default."
        problems.append(Problem(key, f"{key} is {shown(value)}; it must be {be}.", hint))
        return value

    return rule


def _number(what: str, least: float, most: float, kinds: type | tuple[type, ...] = (int, float)) -> _Rule:
    return must(f"{what} from {least:,} to {most:,}", lambda value: _fits(value, least, most, kinds))


def _number_or_none(what: str, least: float, most: float, kinds: type | tuple[type, ...] = (int, float)) -> _Rule:
    return must(
        f"None, or {what} from {least:,} to {most:,}",
        lambda value: value is None or _fits(value, least, most, kinds),
    )


def _fits(value: object, least: float, most: float, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and least <= cast(float, value) <= most


def are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value)


count = _number("a whole number", 0, _MOST, int)
size = _number("a whole number", 1, _MOST, int)
size_or_none = _number_or_none("a whole number", 1, _MOST, int)
factor = _number("a number", 1, 1000)
weight_or_none = _number_or_none("a number", 0.001, _MOST)
wait = _number("a number of seconds", 0, _LONGEST)
span = _number("a number of seconds", 0.001, _LONGEST)
span_or_none = _number_or_none("a number of seconds", 0.001, _LONGEST)
head_start = _number("a number of seconds", -_LONGEST, _LONGEST)
flag = must("True or False", lambda value: isinstance(value, bool))
database_name = must("the name of a database", lambda value: isinstance(value, str))
directory_or_none = must(
    "None, or the absolute path of a directory",
    lambda value: value is None or (isinstance(value, str) and Path(value).is_absolute()),
)


def table(defaults: Mapping[str, float], rule: _Rule) -> Any:
    """A key whose value is a mapping with these names in it, merged over the defaults."""

    def merged(key: str, value: Any, problems: list[Problem]) -> Mapping[str, Any]:
        return MappingProxyType({**defaults, **checked(dict.fromkeys(defaults, rule), key, value, problems)})

    return key(MappingProxyType(dict(defaults)), merged)


def group(of: type) -> dict[str, _Rule]:
    """The metadata of a key whose value is a mapping, read into a dataclass."""

    def read(key: str, value: Any, problems: list[Problem]) -> Any:
        return of(**checked(rules_of(of), key, value, problems))

    return {"rule": read}


def by_error(key: str, value: Any, problems: list[Problem]) -> Mapping[str, ErrorRule]:
    """Rules by exception or category: a category, whether to retry, or {"category": …, "retry": …}."""
    given = value if isinstance(value, Mapping) else {}
    for name in given:
        wrong = problem_of(name) if isinstance(name, str) else f"{shown(name)} is no name"
        if wrong:
            problems.append(Problem(f"{key}[{name!r}]", f"{key}[{name!r}]: {wrong}.", "Write shop.errors.OutOfStock."))
    rules = checked(dict.fromkeys(given, _error_rule), key, value, problems)
    return MappingProxyType({name: rule for name, rule in rules.items() if isinstance(rule, ErrorRule)})


def _error_rule(key: str, value: Any, problems: list[Problem]) -> ErrorRule | None:
    rule = value if isinstance(value, Mapping) else {"retry" if isinstance(value, bool) else "category": value}
    category, retry = rule.get("category"), rule.get("retry")
    is_known = category is None or (isinstance(category, str) and category in set(ErrorCategory))
    if rule and rule.keys() <= {"category", "retry"} and is_known and (retry is None or isinstance(retry, bool)):
        return ErrorRule(None if category is None else ErrorCategory(category), retry)
    said = f"{key} is {shown(value)}; it must be a category, True or False, or a dict of `category` and `retry`."
    problems.append(Problem(key, said, did_you_mean(category, map(str, ErrorCategory)).strip() or _CATEGORIES))
    return None


def by_operation(key: str, value: Any, problems: list[Problem]) -> Mapping[str, float]:
    """A mapping with names of the host's own; whether they are operation types is seen later, with all keys read."""
    names = value if isinstance(value, Mapping) else ()
    return MappingProxyType(checked(dict.fromkeys(names, span), key, value, problems))


def key(default: Any, rule: _Rule) -> Any:
    if isinstance(default, MappingProxyType):
        return field(default_factory=lambda: default, metadata={"rule": rule})
    return field(default=default, metadata={"rule": rule})


def checked(rules: Mapping[str, _Rule], key: str, value: Any, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        problems.append(
            Problem(key, f"{key} is {shown(value)}; it must be a dict.", f"Known keys: {', '.join(rules)}.")
        )
        return {}
    problems += [unknown(key, name, value[name], rules) for name in value if name not in rules]
    return {name: rules[name](f"{key}[{name!r}]", value[name], problems) for name in rules if name in value}


def unknown(key: str, name: object, value: object, known: Iterable[str]) -> Problem:
    known = list(known)
    hint = did_you_mean(name, known).strip() or f"Known keys: {', '.join(known)}."
    return Problem(f"{key}[{name!r}]", f"{key}[{name!r}] (= {shown(value)}) does not exist.", hint, unknown=True)


def rules_of(of: type) -> dict[str, _Rule]:
    return {each.name: each.metadata["rule"] for each in dataclasses.fields(of)}
