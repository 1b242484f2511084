"""What a body's exception means: a failure that can be stored, and whether another attempt may help.

Writes nothing: `endings` chooses the edge, `execution` and the worker's main process take it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jobs.core import encoding
from jobs.exceptions import InvalidArguments, InvalidPayload, JobFailed
from jobs.execution.failures import classification, fingerprints
from jobs.states import ErrorCategory


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as it is stored.

    `may_retry` is what the code itself said of a retry, None where it said nothing: then rules decide, by the
    exception's names and the category. `retry_in` is seconds, where the code said so.
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
    columns: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        category = encoding.clean_text(str(self.category), 20)
        object.__setattr__(
            self,
            "columns",
            {
                "error_category": category,
                "error_type": self.type,
                "error_message": self.message,
                "error_fingerprint": self.fingerprint or fingerprints.of_text(self.type, self.message),
            },
        )

    @property
    def of_attempt(self) -> dict[str, Any]:
        """The columns of the attempt that it ends."""
        return {**self.columns, "error_traceback": self.traceback}


class RetryJob(Exception):  # noqa: N818 - an instruction, not an error
    """Raised by `self.retry()`: try again, after `countdown` seconds or the usual back-off, because of `cause`."""

    def __init__(self, cause: BaseException | None = None, countdown: float | None = None) -> None:
        super().__init__("retry requested")
        self.cause = cause
        self.countdown = countdown


def failure_of(error: BaseException) -> Failure:
    """An exception as a failure that can be stored, whatever its texts hold."""
    kind, message, traceback = encoding.describe_error(error)
    if isinstance(error, JobFailed):
        return Failure(error.category, kind, message, result=_storable(error.result), may_retry=bool(error.retry))
    if isinstance(error, RetryJob):
        cause = error.cause or error
        kind, message, traceback = encoding.describe_error(cause)
        like = fingerprints.of_error(cause)
        again: dict[str, Any] = {"may_retry": True, "retry_in": error.countdown}
        return Failure(ErrorCategory.TRANSIENT, kind, message, traceback, fingerprint=like, **again)
    category, names = classification.meaning_of(error)
    says = False if isinstance(error, InvalidArguments) else None
    like = fingerprints.of_error(error)
    return Failure(category, kind, message, traceback, may_retry=says, names=names, fingerprint=like)


def _storable(result: Any) -> Any:
    try:
        encoding.dumps(result, field="result")
    except InvalidPayload as error:
        return {"unstorable": str(error)}
    return result


def kill_in(error: BaseException) -> SystemExit | None:
    """The exit that tells a pool child to die, out of what its clean-up made of it: main names the outcome."""
    kills = (one for one in _with_contexts(error) if isinstance(one, SystemExit))
    return next((one for one in kills if isinstance(one.code, int) and -256 < one.code < -190), None)


def is_end_of_greenlet(error: BaseException) -> bool:
    """Whether a pool of greenlets has told this one to die, as it does when its worker has to leave at once."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and any(isinstance(one, greenlet.GreenletExit) for one in _with_contexts(error))


def _with_contexts(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        one = one.__context__
