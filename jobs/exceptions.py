"""Everything that `jobs` raises on purpose, as one small tree.

    JobsError
    ├── JobNotFound          (LookupError)            no job with that id
    ├── JobNotFinished                                asked for the end of a job that has none yet
    ├── JobFailed                                     the job failed; also how a body says so itself
    ├── JobCancelled                                  the job was cancelled
    ├── JobAborted                                    raised inside a body that was asked to stop
    ├── JobTimedOut                                   raised inside a body that is over its time-out
    ├── KeyBusy                                       another open transaction holds the key
    ├── InvalidPayload       (ValueError)             a value that cannot be stored
    ├── InvalidArguments     (TypeError)              a task called with the wrong arguments
    ├── InvalidOption        (TypeError)              an unknown or bad submit option
    │   └── ImpossibleNeed                            a need that the whole pool cannot meet
    ├── JobRefused                                    the partition is at its limit and refuses newcomers
    ├── InvalidSettings      (ImproperlyConfigured)   a wrong value in the JOBS setting
    ├── UnknownPool          (LookupError)            no pool of that name
    ├── UnknownTask          (LookupError)            no task of that name
    ├── UnknownFilter        (TypeError)              a filter that `list_jobs` does not know
    └── ResultUnavailable                             finished, but the result is not there

Each class says its cause and its cure. All survive pickling, because Celery carries exceptions between processes.
This module must not import anything of `jobs`, and decides nothing.
"""

# ruff: noqa: N818 - the names say what happened to the job, as the design fixed them

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, Self
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

_LISTED = 20  # names shown where none is near
_REPR = reprlib.Repr()
_SHOWN = 120
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, _SHOWN, _SHOWN, 40


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """The hint ` Did you mean 'x'?` with the choice nearest to `word`, in any letter case; "" when none is near."""
    by_folded = {choice.casefold(): choice for choice in choices}
    nearest = difflib.get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean {by_folded[nearest[0]]!r}?" if nearest else ""


def shown(value: object) -> str:
    """`value` as an error message may show it: at most 120 characters, all storable, and never an error of its own."""
    try:
        text = str(value) if isinstance(value, UUID) else _REPR.repr(value)
    except Exception:  # noqa: BLE001 - whatever a stranger's __repr__ raises
        text = f"<{type(value).__name__} that cannot be shown>"
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


class JobsError(Exception):
    """The root: `except JobsError` catches whatever this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


class JobNotFound(JobsError, LookupError):
    """No job has this id: it is mistyped, belongs to another database, or retention has deleted the job.

    Cure: look the id up with `list_jobs`; keep finished jobs longer with `JOBS["RETENTION"]`.
    """

    def __init__(self, job_id: object) -> None:
        super().__init__(f"There is no job with the id {shown(job_id)}. Is the id complete, or was the job deleted?")
        self.job_id = job_id


class JobNotFinished(JobsError):
    """The result, or the deletion, was asked for of a job that has not ended; `state` says where it stands.

    Cure: wait for it (`JobHandle.wait`), read `get_job_status` until then, or cancel it first.
    """

    def __init__(self, state: str, job_id: object = None) -> None:
        subject = "The job" if job_id is None else f"Job {job_id}"
        super().__init__(f"{subject} is {state}, not finished: wait for its end, or cancel it.")
        self.state = state
        self.job_id = job_id


class JobFailed(JobsError):
    """The job failed. `get_job_results` raises it for a failed job; a body raises it to fail without a traceback.

    `result` is a structured answer kept with the failure, `category` a word to filter by, `retry` whether another
    attempt may help (in a body), `errors` the failed attempts, oldest first. Cure: read `errors`, repair, `retry_job`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        result: Any = None,
        category: str = "user",
        retry: bool = False,
        errors: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.result = result
        self.category = category
        self.retry = retry
        self.errors = tuple(errors)


class JobCancelled(JobsError):
    """The result was asked for of a job that was cancelled: there is none. Cure: `retry_job`, if it should run."""

    def __init__(self, job_id: object = None, reason: str = "") -> None:
        subject = "The job" if job_id is None else f"Job {job_id}"
        super().__init__(f"{subject} was cancelled" + (f": {reason}" if reason else "."))
        self.job_id = job_id
        self.reason = reason


class JobAborted(JobsError):
    """Raised inside a body, at `progress()`, `check()` or `checkpoint()`, because the job's cancellation was requested.

    Cure: none is needed. Clean up in `finally` and let it pass; caught and kept, it comes again at the next such call.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"The job was asked to stop: {reason}" if reason else "The job was asked to stop.")
        self.reason = reason


class JobTimedOut(JobsError):
    """Raised inside a body, at `progress()`, `check()` or `checkpoint()`, because the job is over its time-out.

    The attempt fails with category `timeout`, and is tried again while there are retries left. Cure: clean up in
    `finally` and let it pass; give the task more time (`@job(timeout=…)`), or less to do at once.
    """

    def __init__(self, timeout: float = 0, elapsed: float = 0) -> None:
        super().__init__(f"The job has run for {elapsed:.1f} s: its time-out is {timeout:g} s.")
        self.timeout = timeout
        self.elapsed = elapsed


class KeyBusy(JobsError):
    """Another transaction, still open, has taken this run key; whether its job will exist cannot be known yet.

    Cure: try again, and commit soon after `run_job`.
    """

    def __init__(self, key: object) -> None:
        super().__init__(
            f"The run key {shown(key)} is held by a transaction that has not committed: try again in a moment."
        )
        self.key = key


class InvalidPayload(JobsError, ValueError):
    """A value (arguments, result, metadata …) cannot be stored as JSON; `path` names the place, as "args[0].name".

    Cure: the message says what to pass instead.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class InvalidArguments(JobsError, TypeError):
    """A task was submitted with arguments its function does not take. Cure: call it as its signature says."""

    def __init__(self, message: str, *, task: str = "") -> None:
        super().__init__(message)
        self.task = task


class InvalidOption(JobsError, TypeError):
    """A submit option is unknown, or has a wrong value; `option` names it. Cure: the message says what fits."""

    def __init__(self, message: str, *, option: str = "") -> None:
        super().__init__(message)
        self.option = option

    @classmethod
    def unknown(cls, option: str, choices: Iterable[str]) -> Self:
        """The error for an option that does not exist, with the nearest one that does."""
        known = sorted(choices)
        return cls(
            f"There is no option {option!r}.{did_you_mean(option, known) or _listed(known)}",
            option=option,
        )


class ImpossibleNeed(InvalidOption):
    """A job needs more than its whole pool has. Cure: declare less, or raise the pool's budget in the admin."""

    def __init__(self, pool: str, name: str, need: float, size: float) -> None:
        super().__init__(f"{name}: the job needs {need:,g}, and pool {pool!r} has {size:,g} in all", option=name)
        self.pool, self.name, self.need, self.size = pool, name, need, size

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pool, self.name, self.need, self.size)


class JobRefused(JobsError):
    """The job's partition is at its limit, and its task refuses newcomers then; `holder` is a job that is in the way.

    Cure: none is needed where one is enough; else wait for the other one, or declare another `conflict`.
    """

    def __init__(self, partition: str, holder: UUID | None) -> None:
        who = f"job {holder} is not finished" if holder else "nothing may run there"
        super().__init__(f"Refused: partition {shown(partition)} is at its limit, {who}.")
        self.partition, self.holder = partition, holder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.partition, self.holder)


class InvalidSettings(JobsError, ImproperlyConfigured):
    """The JOBS setting has wrong values; the message lists every one. Cure: mend them; `manage.py check` tells more."""


class _Unknown(JobsError):
    """A name that nothing answers to: says which, and the nearest name that exists."""

    thing = "name"
    advice = ""

    def __init__(self, name: object, choices: Iterable[str] = ()) -> None:
        known = sorted(choices)
        hint = did_you_mean(name, known) or _listed(known)
        super().__init__(f"There is no {self.thing} {shown(name)}.{hint}{self.advice}")
        self.name = name


class UnknownPool(_Unknown, LookupError):
    """A job names a pool that does not exist. Cure: correct the name, or start a worker that serves it (`-Q name`)."""

    thing = "pool"
    advice = " A pool comes into being by @job(pool=…) or by a worker started with -Q."


class UnknownTask(_Unknown, LookupError):
    """A job names a task that is not registered. Cure: correct the name, or import its module where you submit."""

    thing = "task"
    advice = " A task is registered when the module that defines it is imported."


class UnknownFilter(_Unknown, TypeError):
    """A filter that `list_jobs` and the bulk actions do not know. Cure: a public column of Job, or metadata__<key>."""

    thing = "filter"


class ResultUnavailable(JobsError):
    """The job completed, but its result is not there: expired, ignored (`ignore_result`), or impossible to store.

    Cure: fetch it sooner, keep it, or return a value that JSON can carry; `reason` says which.
    """

    def __init__(self, reason: str, job_id: object = None) -> None:
        subject = "The job" if job_id is None else f"Job {job_id}"
        super().__init__(f"{subject} completed, but its result is not available: {reason}")
        self.reason = reason
        self.job_id = job_id


def _restore(cls: type[JobsError], args: tuple[Any, ...], attributes: dict[str, Any]) -> JobsError:
    """Rebuild an unpickled error without its __init__: the finished message stands already in `args`."""
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


def _listed(known: Sequence[str]) -> str:
    more = ", …" if len(known) > _LISTED else ""
    return f" Known: {', '.join(known[:_LISTED])}{more}." if known else ""
