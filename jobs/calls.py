"""A call of a job: what submission needs to know of a task, and its arguments checked and encoded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from celery.local import Proxy
from uuid_utils.compat import uuid7

from jobs import encoding
from jobs.exceptions import InvalidArguments, shown
from jobs.options import JobOptions
from jobs.partitions import value_of

Call = tuple[Sequence[Any], Mapping[str, Any]]


class Row(NamedTuple):
    """A new job's id, its args and kwargs encoded, and the partition that the call belongs to."""

    id: UUID
    args: str
    kwargs: str
    partition: str


@runtime_checkable
class JobLike(Protocol):
    """What submission needs of a job's task object."""

    name: str
    options: JobOptions

    @property
    def parameters(self) -> inspect.Signature:
        """The body's signature, without `self`."""


def unwrapped(task: JobLike) -> JobLike:
    """The task behind Celery's proxy, which looks it up anew at each attribute."""
    return task._get_current_object() if isinstance(task, Proxy) else task


def encoded(known: JobLike | None, call: object, options: JobOptions) -> Row:
    """A call as the row of a new job; InvalidArguments where the function does not take it, InvalidPayload.

    InvalidOption where its partition cannot be told.
    """
    args, kwargs = _pair(call)
    if known is not None:
        try:
            known.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{known.name}{known.parameters}: {error}", task=known.name) from None
    stored = encoding.dumps(list(args), field="args"), encoding.dumps(dict(kwargs), field="kwargs")
    parameters = None if known is None else known.parameters
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
