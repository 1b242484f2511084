"""Turns the exception of a body into a failure that can be stored. Writes nothing: `outcomes` decides the edge."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jobs.core import encoding
from jobs.exceptions import InvalidArguments, InvalidPayload, JobFailed
from jobs.execution.failures import classification, fingerprints
from jobs.states import ErrorCategory


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as it is stored.

    `may_retry` is whether the code itself asked for a retry or refused one, None if it did neither: then rules decide,
    by the exception's names and the category. `retry_in` is the delay in seconds that the code asked for.
    """

    category: str
    type: str
    message: str
    traceback: str = ""
    result: Any = None
    may_retry: bool | None = None
    retry_in: float | None = None
    names: tuple[str, ...] = ()
    fingerprint: str = ""

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The columns of the job."""
        return {
            "error_category": encoding.clean_text(str(self.category), 20),
            "error_type": self.type,
            "error_message": self.message,
            "error_fingerprint": self.fingerprint or fingerprints.of_text(self.type, self.message),
        }

    @property
    def of_attempt(self) -> dict[str, Any]:
        """The columns of the attempt."""
        return {**self.columns, "error_traceback": self.traceback}


class RetryJob(Exception):  # noqa: N818 - an instruction, not an error
    """Raised by `self.retry()`: retry after `countdown` seconds, or after the usual back-off, because of `cause`."""

    def __init__(self, cause: BaseException | None = None, countdown: float | None = None) -> None:
        super().__init__("retry requested")
        self.cause = cause
        self.countdown = countdown


def failure_of(error: BaseException) -> Failure:
    """An exception as a failure that can be stored; its texts may contain anything."""
    kind, message, traceback = encoding.describe_error(error)
    if isinstance(error, JobFailed):
        return Failure(error.category, kind, message, result=_storable(error.result), may_retry=bool(error.retry))
    if isinstance(error, RetryJob):
        cause = error.cause or error
        kind, message, traceback = encoding.describe_error(cause)
        fingerprint, countdown = fingerprints.of_error(cause), error.countdown
        options: dict[str, Any] = {"may_retry": True, "retry_in": countdown, "fingerprint": fingerprint}
        return Failure(ErrorCategory.TRANSIENT, kind, message, traceback, **options)
    category, names = classification.meaning_of(error)
    may_retry = False if isinstance(error, InvalidArguments) else None
    fingerprint = fingerprints.of_error(error)
    return Failure(category, kind, message, traceback, may_retry=may_retry, names=names, fingerprint=fingerprint)


def _storable(result: Any) -> Any:
    try:
        encoding.dumps(result, field="result")
    except InvalidPayload as error:
        return {"unstorable": str(error)}
    return result


def kill_in(error: BaseException) -> SystemExit | None:
    """The SystemExit by which the pool kills its child, also below exceptions that the body raised while it cleaned up.

    The worker's main process records the outcome of such an attempt.
    """
    exits = (link for link in _with_contexts(error) if isinstance(link, SystemExit))
    return next((link for link in exits if isinstance(link.code, int) and -256 < link.code < -190), None)


def is_end_of_greenlet(error: BaseException) -> bool:
    """Whether the pool of greenlets kills this one, as it does when its worker has to exit at once."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and any(isinstance(link, greenlet.GreenletExit) for link in _with_contexts(error))


def _with_contexts(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__context__
