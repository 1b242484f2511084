"""Logs: a line per transition on the logger `jobs.transitions`, and the job's ids on every record made in a body."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from celery import signals

from jobs.execution import context
from jobs.models import transitions
from jobs.models.transitions import Moved

logger = logging.getLogger("jobs.transitions")
_LEVELS = {"retry": logging.WARNING, "rescue": logging.WARNING, "fail": logging.ERROR}


class JobFilter(logging.Filter):
    """Adds `job` and `attempt` to every record; both are "" outside a body. Put it on a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "job"):  # the log of transitions sets its own
            job = context.current()
            record.job = str(job.id) if job is not None and job.id else ""
            record.attempt = job.attempt if job is not None else ""
        return True


def connect() -> None:
    """Subscribe to the transitions, and to Celery's set-up of handlers. Called once, by the app's `ready()`."""
    if log_transitions not in transitions.HOOKS:
        transitions.HOOKS.append(log_transitions)
    signals.after_setup_logger.connect(_filter_handlers, weak=False, dispatch_uid="jobs.monitoring.logs")
    signals.after_setup_task_logger.connect(_filter_handlers, weak=False, dispatch_uid="jobs.task_logs")


def log_transitions(moved: Sequence[Moved]) -> None:
    """A subscriber to transitions. INFO for a move, WARNING for a retry or rescue, ERROR for a failure."""
    for move in moved:
        level = _LEVELS.get(move.edge, logging.INFO)
        if logger.isEnabledFor(level):
            logger.log(
                level,
                "%s %s %s -> %s",
                move.row["task"],
                move.id,
                move.from_state or "new",
                move.to_state,
                extra=_extra(move),
            )


def _extra(move: Moved) -> dict[str, Any]:
    started = move.row["started_at"]
    return {
        "job": str(move.id),
        "attempt": move.row["attempt"],
        "key": move.row["key"],
        "task": move.row["task"],
        "pool": move.row["pool"],
        "from_state": move.from_state,
        "to_state": move.to_state,
        "seconds": (move.at - started).total_seconds() if started else None,
    }


def _filter_handlers(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        handler.addFilter(JobFilter())
