"""What the columns of pools, limits and priorities may hold. A check answers with what is wrong, "" where nothing is.

Reads no database and raises nothing: the models do, and so do the options of a job, which name the same resources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from jobs.core.encoding import clean_text

MOST = 2**31 - 1  # what an integer column holds
MOST_RETRIES = 10_000
FARTHEST = 10**10  # seconds of a head start, as in the setting
BUDGETS = ("memory_mb", "cpu_weight", "disk_mb")
_RESERVED = " conflict"  # how the locks of conflict policies end, which stand beside the rates


def is_number(value: object) -> bool:
    """A finite number; a bool is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def amount(value: object) -> str:
    """A number that is not negative, or None."""
    if value is None or (is_number(value) and 0 <= value <= MOST):  # type: ignore[operator]
        return ""
    return f"{value!r:.60} must be a number from 0 to {MOST:,}"


def words(value: object, longest: int = 200) -> str:
    """A string that every database can hold."""
    if isinstance(value, str) and len(value) <= longest and clean_text(value, longest) == value:
        return ""
    return f"{value!r:.60} must be a string of at most {longest} characters, without NUL and lone surrogates"


def resources(value: object) -> str:
    """Amounts by name."""
    if not isinstance(value, Mapping):
        return f'{value!r:.60} must be a dict, as {{"gpu": 1}}'
    for name, size in value.items():
        problem = words(name)
        if not problem and (not name or name in BUDGETS):
            problem = f"{name!r} is no name for a resource of your own"
        if not problem and (size is None or amount(size)):
            problem = f"{name!r:.60} is {size!r:.60}; it must be a number from 0 to {MOST:,}"
        if problem:
            return problem
    return ""


def pool_name(value: object) -> str:
    """A name that a worker can take: `-Q` separates names by commas."""
    problem = words(value, 100)
    if not problem and (not value or value != str(value).strip() or "," in str(value)):
        problem = f"{value!r:.60} must be a name without commas, and without spaces at its ends"
    return problem


def limit_name(value: object) -> str:
    """A name that is free of meaning to anything else."""
    problem = words(value, 250)
    if not problem and (not value or value != str(value).strip()):
        problem = f"{value!r:.60} must be a name without spaces at its ends"
    if not problem and str(value).endswith(_RESERVED):
        problem = f"a name that ends in {_RESERVED!r} belongs to the locks of conflict policies"
    return problem


def limit_size(value: object, *, is_count: bool) -> str:
    """Jobs at once, or starts in a period; None is no limit."""
    problem = amount(value)
    if not problem and is_count and value is not None and value != int(value):  # type: ignore[call-overload]
        problem = f"{value!r} must be a whole number of jobs"
    return problem


def above_zero(value: object) -> str:
    """A number above 0."""
    if is_number(value) and 0 < value <= MOST:  # type: ignore[operator]
        return ""
    return f"{value!r:.60} must be a number above 0, at most {MOST:,}"


def burst(value: object) -> str:
    """Starts at once, after a rest."""
    if isinstance(value, int) and 1 <= value <= MOST:
        return ""
    return f"{value!r:.60} must be a whole number of starts, at least 1"


def retries(value: object) -> str:
    """A number of retries, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES):
        return ""
    return f"{value!r:.60} must be a whole number from 0 to {MOST_RETRIES:,}"


def multiplier(value: object) -> str:
    """By how much each wait is longer than the one before, or None."""
    if value is None or (is_number(value) and 1 <= value <= 1000):  # type: ignore[operator]
        return ""
    return f"{value!r:.60} must be a number from 1 to 1,000"


def head_start(value: object) -> str:
    """Seconds, in either direction."""
    if is_number(value) and abs(value) <= FARTHEST:  # type: ignore[arg-type]
        return ""
    return f"{value!r:.60} must be a number of seconds, from -{FARTHEST:,} to {FARTHEST:,}"
