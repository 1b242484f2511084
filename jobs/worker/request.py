"""Celery's request of a job task: what only the main process learns, above all that a pool child is dead."""

from __future__ import annotations

import queue
from typing import Any
from uuid import UUID

from celery.exceptions import WorkerLostError
from celery.worker.request import Request

from jobs.publishing import JOBS_HEADER

Pair = tuple[UUID, UUID]

lost: queue.SimpleQueue[list[Pair] | None] = queue.SimpleQueue()
"""Attempts whose process died, for the pulse to take back: the event loop itself never waits for a database."""


class JobRequest(Request):
    """Reports lost attempts before Celery's own handling, which may hand the message out again at once."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        if _is_dead(exc_info.exception):
            lost.put(pairs_of(self))
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)


def pairs_of(request: Any) -> list[Pair]:
    """The (job id, attempt id) pairs on a request's doorbell; [] for any other task."""
    pairs = getattr(request, "_request_dict", {}).get(JOBS_HEADER) or []
    return [(UUID(job_id), UUID(attempt_id)) for job_id, attempt_id in pairs]


def _is_dead(error: BaseException) -> bool:
    cause = getattr(error, "exc", error)  # billiard wraps what came from a child
    return isinstance(cause, (WorkerLostError, SystemExit))
