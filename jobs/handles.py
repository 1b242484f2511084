"""A job as an object to hold: who it is, where it stands, and waiting for its end."""

from __future__ import annotations

import time
from typing import Any, Generic, TypeVar
from uuid import UUID

from jobs.conf import settings
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Job

State = TypeVar("State")
Action = TypeVar("Action")


class JobHandle(Generic[State, Action]):
    """One job, by id, in any process. Every property reads the row afresh; JobNotFound once it has been deleted."""

    def __init__(self, job_id: UUID) -> None:
        self.id = job_id

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    @property
    def job(self) -> Job:
        """The row as it is now."""
        found = Job.objects.using(settings.DATABASE).filter(pk=self.id).first()
        if found is None:
            raise JobNotFound(self.id)
        return found

    @property
    def status(self) -> str:
        """The coarse word: pending, running, paused, completed, failed or cancelled."""
        return self.job.status

    @property
    def state(self) -> State:
        """The live value that the running code set last."""
        value: Any = self.job.live_state
        return {"type": "idle"} if value is None else value  # type: ignore[return-value]

    def wait(self, timeout: float | None = None) -> Job:
        """Wait for the end and return the row; JobNotFinished after `timeout` seconds."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        pause = 0.02
        while not (job := self.job).is_final:
            if give_up_at is not None and time.monotonic() >= give_up_at:
                raise JobNotFinished(job.state, self.id)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        return job
