"""A job as an object to hold: who it is, where it stands, and waiting for its end."""

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
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two looks


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

    def stop(
        self,
        error: BaseException | str | None = None,
        *,
        wait: bool = False,
        timeout: float | None = None,
        actor: str = "",
    ) -> Answer:
        """Ask the job to stop: STOPPED or CANCELLED (it waited), REQUESTED (it runs) or ALREADY_FINAL.

        With an error it ends failed with it, category `stopped`, else cancelled. With `wait` this returns when the code
        has stopped, and the key is free; JobNotFinished after `timeout` seconds. Repeating it is harmless.
        """
        answer = ask_one(stopping.stop, self.id, error, actor=actor)
        if wait:
            self.wait(timeout)
        return answer

    async def astop(self, error: BaseException | str | None = None, *, actor: str = "") -> Answer:
        """`stop`, to be awaited until the code has stopped; `asyncio.timeout` bounds it."""
        answer = await sync_to_async(ask_one)(stopping.stop, self.id, error, actor=actor)
        pause = _FIRST_PAUSE
        while not (await sync_to_async(lambda: self.job)()).is_final:  # no thread stands still meanwhile
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return answer

    def wait(self, timeout: float | None = None) -> Job:
        """Wait for the end and return the row; JobNotFinished after `timeout` seconds."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not (job := self.job).is_final:
            if give_up_at is not None and time.monotonic() >= give_up_at:
                raise JobNotFinished(job.state, self.id)
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return job
