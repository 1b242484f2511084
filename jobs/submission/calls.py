"""One call of a task: its arguments checked against the signature and encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from jobs.core import encoding
from jobs.core.options.declared_task import JobLike
from jobs.core.options.job_options import JobOptions
from jobs.core.options.partition import value_of
from jobs.exceptions import InvalidArguments, shown

Call = tuple[Sequence[Any], Mapping[str, Any]]


class Row(NamedTuple):
    """A new job's id, its encoded args and kwargs, and the partition of the call."""

    id: UUID
    args: str
    kwargs: str
    partition: str


def encoded(task: JobLike | None, call: object, options: JobOptions) -> Row:
    """A call as the row of a new job.

    Raises InvalidArguments if the function cannot be called so, InvalidPayload if an argument cannot be stored, and
    InvalidOption if `partition_by` gives no partition for it.
    """
    args, kwargs = _pair(call)
    if task is not None:
        try:
            task.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{task.name}{task.parameters}: {error}", task=task.name) from None
    stored = encoding.dumps(list(args), field="args"), encoding.dumps(dict(kwargs), field="kwargs")
    parameters = None if task is None else task.parameters
    return Row(uuid7(), *stored, value_of(options.partition_by, parameters, args, kwargs, options.metadata))


def _pair(call: object) -> Call:
    if not isinstance(call, Sequence) or len(call) != 2:
        raise InvalidArguments(f"calls: {shown(call)} is not a pair (args, kwargs).")
    args, kwargs = call
    if not isinstance(args, Sequence) or isinstance(args, (str, bytes)):
        raise InvalidArguments(f"args: {shown(args)} must be a list or a tuple; for one argument [{shown(args)}].")
    if not isinstance(kwargs, Mapping):
        raise InvalidArguments(f"kwargs: {shown(kwargs)} must be a dict.")
    return args, kwargs
