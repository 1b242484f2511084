"""What one submit may say of a limit that its task declares: less room, never more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from jobs.core.options.rate import spacing
from jobs.exceptions import InvalidOption, shown


def refuse_wider(declared: Mapping[str, Any], given: Mapping[str, Any], named: Collection[str]) -> None:
    """Raise InvalidOption where a submit that names these options would have more than the task declares."""
    for name in _IS_TIGHTER.keys() & named:
        _check(name, declared[name], given[name])


def _check(name: str, declared: Any, given: Any) -> None:
    if not declared or declared == given:
        return
    if not given:
        raise InvalidOption(f"{name}: the task's is {shown(declared)}; a submit cannot take it away", option=name)
    if not _IS_TIGHTER[name](given, declared):
        said = f"{shown(given)} is not within the task's {shown(declared)}"
        raise InvalidOption(f"{name}: {said}; a submit may only tighten it", option=name)


def _never(*_: object) -> bool:
    return False


# Memory and disk are measured while a job runs, and a job beyond its declaration is stopped: less is a tighter bound.
# What is not measured must not be declared smaller than it is, or the pool gives away more than it has.
_IS_TIGHTER: dict[str, Callable[[Any, Any], bool]] = {
    "max_concurrent": lambda given, declared: given <= declared,
    "rate": lambda given, declared: spacing(given).is_within(spacing(declared)),
    **dict.fromkeys(("partition_by", "conflict", "access"), _never),
    **dict.fromkeys(("memory_mb", "disk_mb"), lambda *_: True),
    "cpu_weight": lambda given, declared: given >= declared,
    "resources": lambda given, declared: all(given.get(name, 0) >= units for name, units in declared.items()),
}
