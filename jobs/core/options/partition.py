"""Which partition a call belongs to: the value that its limits are counted by, worked out once, at submit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from jobs.core.encoding import clean_text
from jobs.exceptions import InvalidOption, shown

PartitionBy = str | Callable[..., Any] | None
LONGEST = 200  # characters of a partition
_PLAIN = (str, int, float, bool, UUID, Decimal, date, datetime)


def name_of(partition_by: PartitionBy, task: str) -> str:
    """What partitions are by, as the row says it: the parameter's name, or the callable's; "" without partitions.

    A callable without a name of its own has its task's, so that it shares partitions with no other.
    """
    if not callable(partition_by):
        return partition_by or ""
    name = getattr(partition_by, "__name__", "")
    return (name if name.isidentifier() else task)[-100:]


def value_of(
    partition_by: PartitionBy,
    parameters: inspect.Signature | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> str:
    """The partition of a call; "" without partitions. InvalidOption if it cannot be found, or is no short text.

    A name is first looked for among the parameters, with their defaults, then among the keys of the metadata. Where the
    code is not imported it is looked for among the keyword arguments, and a call that does not name it has none.
    """
    if partition_by is None:
        return ""
    if callable(partition_by):
        return _text(_called(partition_by, args, kwargs))
    bound = parameters.bind(*args, **kwargs) if parameters is not None else None
    if bound is not None:
        bound.apply_defaults()
    known = {**metadata, **kwargs, **(bound.arguments if bound is not None else {})}
    if partition_by not in known and parameters is None:
        return ""  # submitted by name, and its position in the call is not known here
    if partition_by not in known:
        raise InvalidOption(
            f"partition_by: {partition_by!r} is no parameter of this call and no key of its metadata",
            option="partition_by",
        )
    return _text(known[partition_by])


def whole_task(*_: Any, **__: Any) -> str:
    """The one partition of a task that has a conflict policy and says no other."""
    return "*"


def _called(partition_by: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    try:
        return partition_by(*args, **kwargs)
    except Exception as error:
        raise InvalidOption(f"partition_by: the callable failed: {error!r:.200}", option="partition_by") from error


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, _PLAIN):
        said = f"{shown(value)} is no text, number, date or UUID"
        raise InvalidOption(f"partition_by: {said}; a partition is named by one", option="partition_by")
    text = "" if value is None else str(value)
    if len(text) > LONGEST or clean_text(text, LONGEST) != text:
        problem = f"must be at most {LONGEST} characters, without NUL and lone surrogates"
        raise InvalidOption(f"partition_by: {shown(text)} {problem}", option="partition_by")
    return text
