"""One attempt of one job, in the process that runs its body: claim, run the body, finish.

Exactly one edge ends the attempt. It is fenced by the attempt's id, so a process that is too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from jobs.admission import passes
from jobs.exceptions import InvalidArguments
from jobs.execution import context, hooks
from jobs.execution.body import call_body
from jobs.execution.claims import Claimed, claim
from jobs.execution.context import JobContext, JobInterrupted, JobPaused, JobSnoozed
from jobs.execution.failures.failure import is_end_of_greenlet, kill_in
from jobs.execution.finishing import complete, fail, finish
from jobs.execution.hooks import NO_HOOKS, Hooks
from jobs.execution.outcomes import run_after
from jobs.execution.progress import flusher
from jobs.models.fields import Unreadable

Body = Callable[..., Any]


def perform(job_id: UUID, attempt_id: UUID, body: Body, worker: UUID | None, task_hooks: Hooks = NO_HOOKS) -> bool:
    """Run one attempt from claim to end; False when the claim was refused and nothing ran.

    What the body raises becomes the attempt's outcome, except the exit that tells this process to die.
    """
    claimed = claim(job_id, attempt_id, worker, task_hooks)
    if claimed is None:
        return False
    run(claimed, body)
    return True


def run(claimed: Claimed, body: Body) -> None:
    """Run the body of a claimed attempt and record its end; then its slot is free."""
    hooks.before_run(claimed.hooks, claimed.row, claimed.worker)
    token = context.bind(claimed.context)
    claimed.context.begin()
    try:
        run_body(claimed, body)
    finally:
        claimed.context.end()
        context.unbind(token)
        flusher.forget(claimed.row["attempt_id"])
        passes.after_finish(claimed.row["pool"])
    hooks.after_end(claimed.hooks, claimed.context, claimed.row, claimed.worker)


def run_body(claimed: Claimed, body: Body) -> None:
    """Call the body and take the edge that its end calls for."""
    try:
        args, kwargs = _arguments(claimed.context)
        result = call_body(body, *args, **kwargs)
    except JobSnoozed as snoozed:
        finish(claimed, "snooze", sets=run_after(snoozed.seconds))
    except (JobInterrupted, JobPaused):
        finish(claimed, "interrupt")  # `return_to_queue` pauses the job instead, if the request to pause still stands
    except BaseException as error:
        kill = kill_in(error)
        if kill is not None:
            raise kill from None  # Celery would record the clean-up's exception as a failure and keep the process
        if is_end_of_greenlet(error):
            finish(claimed, "interrupt")
            raise
        fail(claimed, error)
        if isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C ends the process as well
    else:
        complete(claimed, result)


def _arguments(job: JobContext) -> tuple[list[Any], dict[str, Any]]:
    """The arguments; InvalidArguments where a newer version of the code wrote what this one cannot read."""
    for name, value in (("args", job.args), ("kwargs", job.kwargs)):
        if isinstance(value, Unreadable):
            raise InvalidArguments(
                f"{name} cannot be read here: {value.problem}. Is this worker older than its caller?"
            )
    return job.args, job.kwargs
