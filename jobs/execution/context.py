"""`self.job` in a running body: progress, logs, checkpoints, and whether to stop.

Its methods write to memory; a background thread, the flusher, writes to the database. Nothing here changes the state of
a job: an exception ends the body, and `attempt` takes the edge.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID, uuid4

from django.db import connections

from jobs.core import encoding
from jobs.core.conf import settings
from jobs.exceptions import JobAborted, JobFailed, JobTimedOut
from jobs.execution.progress import Outbox, flusher, store_checkpoint
from jobs.execution.resources import meter, tmpdirs

DIAGNOSTICS_KEPT = 200
_FAR_AWAY = 10**9  # seconds
_FROM_JOB = ("id", "key", "attempt", "args", "kwargs", "metadata", "owner", "attempt_id")
FALLBACK_OF, FALLBACK_CHAIN, FALLBACK_ERROR = "fallback_of", "fallback_chain", "fallback_error"  # in the metadata


class JobSnoozed(BaseException):
    """Raised by `snooze()`: ends this attempt; the job runs again after `seconds`. No retry is used."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snoozed for {seconds} s")
        self.seconds = seconds


class JobPaused(BaseException):
    """Raised by `checkpoint()` when a pause is requested: ends this attempt; the job is paused until it is resumed."""


class JobInterrupted(BaseException):
    """Raised in a body whose worker shuts down and cannot kill it: the job runs again. No retry is used."""


@dataclass
class JobContext:
    """The running job, as its body sees it: `self.job`.

    `args`, `kwargs` and `owner` are those of the submit, `metadata` is the job's metadata now. `attempt` counts from 1
    in each run. `resume_data` is the data of this run's last checkpoint, or None. `started_at` is by the database's
    clock.

    In a hook, `hook` is the hook's name, `outcome` the state in which the job ended, and `reason` why it was cancelled;
    `check()` raises nothing there. When the function is called directly, outside any job, `id` is None and nothing is
    written to the database.
    """

    id: UUID | None = None
    key: str | None = None
    attempt: int = 0
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    attempt_id: UUID | None = None
    started_at: datetime | None = None
    resume_data: Any = None
    reason: str = ""
    outcome: str = ""
    hook: str = ""
    in_transaction: bool = False
    timeout: float | None = None
    outbox: Outbox = field(default_factory=Outbox)
    diagnostics: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=DIAGNOSTICS_KEPT))
    _begun: float = field(default_factory=time.monotonic)
    _meter: meter.Meter | None = None
    _directory: tmpdirs.TempDir | None = None
    _used: meter.Columns | None = None
    _has_ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)  # threads of a body may ask for `tmpdir` at once

    @classmethod
    def of_job(cls, row: Mapping[str, Any], **options: Any) -> JobContext:
        """The context of an attempt, from its job's columns."""
        return cls(**{name: row[name] for name in _FROM_JOB}, resume_data=row["checkpoint"], **options)

    def __post_init__(self) -> None:
        if self.timeout is not None:
            self.outbox.deadline = self._begun + self.timeout

    def progress(
        self,
        percent: float,
        message: str | None = None,
        stage: str | None = None,
        sub_progress: float | None = None,
        **diagnostics: Any,
    ) -> None:
        """Report progress: `percent` is 0-100 of the whole job, `sub_progress` 0-100 of the stage.

        Cheap enough for a hot loop: the database is written at most twice a second. Further keywords become a
        diagnostic entry. Raises what `check` raises.
        """
        columns: dict[str, Any] = {"progress": _percent("percent", percent)}
        if message is not None:
            columns["message"] = encoding.clean_text(message, 1000)
        if stage is not None:
            columns["stage"] = encoding.clean_text(stage, 200)
        if sub_progress is not None:
            columns["sub_progress"] = _percent("sub_progress", sub_progress)
        if diagnostics:
            columns["diagnostics"] = self._with_entry(diagnostics)
        self.outbox.update(**columns)
        self.check()

    def set_state(self, state: Any) -> None:
        """Set the job's live state, shown as `handle.state`: any JSON value, else InvalidPayload."""
        encoding.dumps(state, field="state")
        self.outbox.update(live_state=state)
        self._watch()

    def check(self) -> None:
        """Raise if the job should stop, else return.

        JobAborted: a cancellation was requested, or this attempt no longer counts because the job was given to another
        worker. JobTimedOut: the job is over its time-out.
        """
        self._watch()
        if not self.hook:
            self._raise_if_stopped()

    @property
    def error(self) -> dict[str, Any] | None:
        """In a fallback job: the failure of the job it replaces, else None.

        A dict with its category, type, message (1,000 characters), fingerprint and number of attempts.
        """
        return self.metadata.get(FALLBACK_ERROR)

    @property
    def aborted(self) -> bool:
        """Whether the job should stop: on request, over its time-out, or because its worker shuts down.

        Like `check()`, without an exception. Always False in a hook.
        """
        self._watch()
        return not self.hook and (self.outbox.should_stop or flusher.is_interrupting)

    def on_abort(self, act: Callable[[], object]) -> None:
        """Call `act()` once when the job should stop, for example to close a socket that the body waits for.

        It is called in another thread within about a second; if the job should stop already, at once in this thread.
        Its exceptions are logged. The body itself ends at its next `check()` or `progress()`.
        """
        if self.hook:
            return
        self.outbox.on_stop(act)
        if self.aborted:
            self.outbox.run_callbacks()

    def checkpoint(self, data: Any) -> None:
        """Store data from which the next attempt continues: it reads the data as `resume_data`.

        The data is in the database when this returns. It must be JSON, at most `MAX_PAYLOAD`; the last checkpoint
        replaces earlier ones. If a pause was requested this does not return: the attempt ends, and the job continues
        from here after it is resumed. Raises what `check` raises, after the data is stored. Raises JobFailed in a
        transaction that the body has opened, because a rollback would lose the data.
        """
        stored = encoding.dumps(data, field="checkpoint")
        if self.id is None or self.attempt_id is None or self.hook:
            self.resume_data = encoding.loads(stored)
            return
        if connections[settings.DATABASE].in_atomic_block and not self.in_transaction:
            raise JobFailed(
                "checkpoint() inside a transaction, which may be rolled back: leave the atomic block first."
            )
        store_checkpoint(self.id, self.attempt_id, self.outbox, stored)
        self.resume_data = encoding.loads(stored)
        self._raise_if_stopped()
        if self.outbox.is_pause_requested:
            raise JobPaused

    def log(self, line: str, level: str = "info") -> None:
        """Add a line to the job's log, which its page shows."""
        self.outbox.add_line((self._now(), encoding.clean_text(str(level), 10), encoding.clean_text(str(line), 10_000)))
        self._watch()

    def snooze(self, seconds: float) -> NoReturn:
        """End this attempt and run the job again after `seconds`. Uses no retry; never returns."""
        raise JobSnoozed(seconds_within_reach("seconds", seconds))

    def update_metadata(self, **pairs: Any) -> None:
        """Add keys to the job's metadata; they are written within half a second."""
        stored = encoding.check_json({**self.metadata, **pairs}, field="metadata")  # the body may have changed it
        self.metadata.update(pairs)
        self.outbox.update(metadata=stored)
        self._watch()

    def _raise_if_stopped(self) -> None:
        if self.outbox.stop_reason is not None:
            raise JobAborted(self.outbox.stop_reason)
        if self.outbox.is_late:
            raise JobTimedOut(self.timeout or 0, time.monotonic() - self._begun)
        if flusher.is_interrupting:
            raise JobInterrupted

    @property
    def tmpdir(self) -> Path:
        """A temporary directory for this attempt, made at its first use and deleted when the body ends.

        Its size counts against the job's `disk_mb`. A hook gets its own, which is deleted after the hook. JobFailed
        after the end of the attempt.
        """
        with self._lock:
            if self._has_ended and not self.hook:
                raise JobFailed("tmpdir after the end of the attempt: its directory is gone.")
            if self._directory is None:
                self._directory = tmpdirs.make(self.attempt_id or uuid4())
                if self.attempt_id is None:  # outside any job `end` is not called
                    weakref.finalize(self, tmpdirs.remove, self._directory)
        return self._directory.path

    def begin(self) -> None:
        """Start to measure; called before the body runs."""
        if self.attempt_id is not None:
            self._meter = meter.start(self.attempt_id)

    def end(self) -> meter.Columns:
        """Delete the directory and return what the body used, as columns of the attempt.

        Called after the body and after each hook; always returns the usage of the body.
        """
        with self._lock:
            directory, self._directory, self._has_ended = self._directory, None, True
        if self._used is None:
            disk = None if directory is None else tmpdirs.size(directory.path)
            self._used = {} if self._meter is None else self._meter.stop(disk)
        if directory is not None:
            tmpdirs.remove(directory)
        return self._used

    def _with_entry(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        stored = encoding.check_json(entry, field="diagnostics")
        self.diagnostics.append({"at": self._now(), "level": "info", **stored})
        return list(self.diagnostics)

    def _watch(self) -> None:
        if self.attempt_id is not None and not self.outbox.is_watched and not self.hook:
            flusher.watch(self.id, self.attempt_id, self.outbox)

    def _now(self) -> str:
        elapsed = timedelta(seconds=time.monotonic() - self._begun)
        return (self.started_at + elapsed).isoformat() if self.started_at else ""


_current: ContextVar[JobContext | None] = ContextVar("current_job", default=None)


def current() -> JobContext | None:
    """The job whose body runs in this thread or task, else None."""
    return _current.get()


def bind(job: JobContext | None) -> Any:
    """Make a job the current one, until `unbind` is called with the returned token."""
    return _current.set(job)


def unbind(token: Any) -> None:
    """Undo `bind`."""
    _current.reset(token)


def seconds_within_reach(name: str, value: float) -> float:
    """Seconds that a database can add to its clock: a negative value becomes 0, one too large is a ValueError."""
    if not value < _FAR_AWAY:  # NaN compares false, so it is refused too
        raise ValueError(f"{name} must be a number of seconds below {_FAR_AWAY:,}, not {value!r}")
    return max(0.0, float(value))


def _percent(name: str, value: float) -> float:
    if not 0 <= value <= 100:  # NaN compares false, so it is refused too
        raise ValueError(f"{name} must be from 0 to 100, not {value!r}")
    return float(value)
