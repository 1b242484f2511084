"""How exceptions are named where a rule speaks of them: by class, by dotted path, or by category.

Names are all that is kept: the process that judges a failure need not have imported the class, and what only a worker's
main process knows (a kill, a time-out) has none. Knows no setting and decides nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass

from jobs.exceptions import did_you_mean, shown
from jobs.states import ErrorCategory

BUILTIN = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)


@dataclass(frozen=True)
class ErrorRule:
    """What an exception, or a category, means; None says nothing."""

    category: ErrorCategory | None = None
    retry: bool | None = None


def lineage(error: BaseException) -> tuple[str, ...]:
    """The names that a rule may call an exception by, the most exact first: its class's, then those of its bases."""
    return tuple(dotted(kind) for kind in type(error).__mro__ if issubclass(kind, BaseException))


def dotted(kind: type) -> str:
    """A class as a rule names it: "ValueError", "shop.errors.OutOfStock"."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def as_names(given: Iterable[object]) -> tuple[str, ...]:
    """Exception classes and names as names."""
    return tuple(dict.fromkeys(dotted(one) if isinstance(one, type) else str(one) for one in given))


def problem_of(given: object) -> str:
    """What is wrong with an exception class or name in a rule; "" where nothing is."""
    if isinstance(given, type) and issubclass(given, BaseException):
        return ""
    if not isinstance(given, str):
        return f"{shown(given)} is no exception class, no name of one and no category"
    if "." in given:
        is_path = all(part.isidentifier() for part in given.split(".")) and len(given) <= 200
        return "" if is_path else f"{shown(given)} is no dotted path of an exception"
    if given in BUILTIN or given in set(ErrorCategory):
        return ""
    hint = did_you_mean(given, [*BUILTIN, *map(str, ErrorCategory)])
    return f"{shown(given)} is no exception of Python and no category: name others by their dotted path.{hint}"
