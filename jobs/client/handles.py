"""`JobHandle`: one job by its id, to read its state, to stop it, to wait for its end."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Generic, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async

from jobs.control import stopping
from jobs.control.answers import Answer
from jobs.control.requests import ask_one
from jobs.core.conf import settings
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Job

State = TypeVar("State")
Action = TypeVar("Action")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two reads of the row


class JobHandle(Generic[State, Action]):
    """One job by its id, in any process. Each property reads the row; JobNotFound after it was deleted."""

    def __init__(self, job_id: UUID) -> None:
        self.id = job_id

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    @property
    def job(self) -> Job:
        """The row as it is now."""
        job = Job.objects.using(settings.DATABASE).filter(pk=self.id).first()
        if job is None:
            raise JobNotFound(self.id)
        return job

    @property
    def status(self) -> str:
        """The coarse state: pending, running, paused, completed, failed or cancelled."""
        return self.job.status

    @property
    def state(self) -> State:
        """The live state that the running code has set last."""
        value: Any = self.job.live_state
        return {"type": "idle"} if value is None else value  # type: ignore[return-value]

    def stop(
        self,
        error: BaseException | str | None = None,
        *,
        wait: bool = False,
        timeout: float | None = None,
        actor: str = "",
    ) -> Answer:
        """Stop the job. With an error it ends failed with that error, category `stopped`; without one it is cancelled.

        STOPPED or CANCELLED if it waits, REQUESTED if it runs, ALREADY_FINAL if it has ended. With `wait` it returns
        when the code has stopped and the key is free; it raises JobNotFinished after `timeout` seconds.
        """
        answer = ask_one(stopping.stop, self.id, error, actor=actor)
        if wait:
            self.wait(timeout)
        return answer

    async def astop(self, error: BaseException | str | None = None, *, actor: str = "") -> Answer:
        """As `stop`, and wait until the code has stopped. Limit the wait with `asyncio.timeout`."""
        answer = await sync_to_async(ask_one)(stopping.stop, self.id, error, actor=actor)
        pause = _FIRST_PAUSE
        while not (await sync_to_async(lambda: self.job)()).is_final:  # between two reads no thread is blocked
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return answer

    def wait(self, timeout: float | None = None) -> Job:
        """Wait for the end and return the row. Raises JobNotFinished after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not (job := self.job).is_final:
            if deadline is not None and time.monotonic() >= deadline:
                raise JobNotFinished(job.state, self.id)
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return job
