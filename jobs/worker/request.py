"""Celery's request of a job task: what only the main process learns, above all that a pool child is dead."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billiard.exceptions import Terminated
from celery.exceptions import WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready

from jobs.admission.publishing import JOBS_HEADER
from jobs.execution.fence import Pair
from jobs.execution.progress import flusher
from jobs.execution.termination import INTERRUPTED
from jobs.worker.guard import descendants, terminations
from jobs.worker.guard.guard import children


@dataclass(frozen=True)
class News:
    """What the event loop has learned of some messages: their process died, or this worker does not know their task."""

    pairs: Sequence[Pair] = ()
    are_lost: bool = False


news: queue.SimpleQueue[News] = queue.SimpleQueue()
"""For the pulse to write down: the event loop itself never waits for a database."""


class JobRequest(Request):
    """Reports lost attempts before Celery's own handling, which may hand the message out again at once."""

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """Take Celery's own time limits off: they kill without a second look, and know nothing of attempts."""
        own: Any = self  # the stub leaves it out
        result = own._apply_result and own._apply_result()
        take_off = getattr(result, "_on_timeout_cancel", None)  # of processes; no other pool has limits
        if take_off is not None:
            result._soft_timeout = result._timeout = 0  # None would be the worker's
            take_off(result)
        super().on_accepted(pid, time_accepted)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        if _is_dead(exc_info.exception):
            pairs = pairs_of(self)
            news.put(News(pairs, are_lost=True))
            if any(terminations.entry(attempt_id) for _, attempt_id in pairs):
                return task_ready(self)  # killed on purpose: no failure, and nothing that Celery should tell of
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """A cold shutdown stops it: the job waits again. Celery's own way would tell of a retry that never comes."""
        for _, attempt_id in pairs_of(self):
            terminations.pronounce(attempt_id, INTERRUPTED, is_told=True)
        pid: Any = self.worker_pid  # a number; its stub says text
        if pid in children(pool):
            descendants.remember(pid)
        try:
            super().cancel(pool, signal, emit_retry=False)
        except NotImplementedError:  # threads, solo: the code cannot be stopped, but it can check
            flusher.interrupt()


def pairs_of(request: Any) -> list[Pair]:
    """The (job id, attempt id) pairs of a request's job message; [] for any other task."""
    return pairs_in(getattr(request, "_request_dict", {}))


def pairs_in(headers: Mapping[str, Any]) -> list[Pair]:
    """The pairs that a message's headers name."""
    pairs = headers.get(JOBS_HEADER) or []
    return [(UUID(job_id), UUID(attempt_id)) for job_id, attempt_id in pairs]


def _is_dead(error: BaseException) -> bool:
    cause = getattr(error, "exc", error)  # billiard wraps what came from a child
    return isinstance(cause, (WorkerLostError, SystemExit, Terminated))
