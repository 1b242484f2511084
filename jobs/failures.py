"""What a body's exception means: a failure that can be stored, whether another attempt may help, and when.

Writes nothing: `execution` takes the edge.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from jobs import encoding
from jobs.conf import settings
from jobs.exceptions import InvalidArguments, InvalidPayload, JobFailed, JobTimedOut


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, as it is stored."""

    category: str
    type: str
    message: str
    traceback: str = ""
    result: Any = None
    may_retry: bool = True
    retry_in: float | None = None
    columns: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        category = encoding.clean_text(str(self.category), 20)
        columns = {"error_category": category, "error_type": self.type, "error_message": self.message}
        object.__setattr__(self, "columns", columns)


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
        return Failure(error.category, kind, message, result=_storable(error.result), may_retry=error.retry)
    if isinstance(error, RetryJob):
        kind, message, traceback = encoding.describe_error(error.cause or error)
        return Failure("transient", kind, message, traceback, retry_in=error.countdown)
    if isinstance(error, JobTimedOut):
        return Failure("timeout", kind, message, traceback)
    if isinstance(error, InvalidArguments):
        return Failure("user", kind, message, may_retry=False)
    return Failure("user", kind, message, traceback)


def _storable(result: Any) -> Any:
    try:
        encoding.dumps(result, field="result")
    except InvalidPayload as error:
        return {"unstorable": str(error)}
    return result


def back_off(retries: int, first: float | None = None) -> float:
    """Seconds before the next retry: exponential from the first delay, capped, with jitter over its upper half.

    A first delay above the cap is meant as it is said.
    """
    policy = settings.RETRY
    initial = policy.initial_delay if first is None else first
    seconds = min(max(policy.cap, initial), initial * policy.multiplier ** min(retries, 60))
    return seconds * random.uniform(0.5, 1) if policy.jitter else seconds  # noqa: S311 - spread, not secrecy
