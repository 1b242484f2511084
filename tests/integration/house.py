"""The house: one stack with one prefork worker that serves many tests. Each test leaves it as it found it.

Starting a worker takes longer than most tests; only what needs a worker of its own starts one.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import Job, JobTask, job_manager
from jobs.models import Attempt, JobEvent, Limit, Pool
from jobs.states import FINAL, IN_FLIGHT
from tests.app import ledger
from tests.invariants import check_invariants
from tests.services import Stack, Worker
from tests.services.processes import wait_until

RESCUES = 2
QUICK = json.dumps({"MAX_RESCUES": RESCUES, "UNKNOWN_TASK_AFTER": 1})
LONG = 30.0  # seconds after which what should have happened did not


@dataclass
class House:
    """`directory` holds the ledger and the gates; `worker` is ready, with two processes."""

    stack: Stack
    worker: Worker
    directory: Path
    _gates: list[Path] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        return self.directory / "ledger"

    def submit(self, task: JobTask | str, *args: Any, **options: Any) -> Job:
        """Submit with positional arguments; keywords are the options. No two are of one rank, whatever the clock."""
        if self.stack.is_sqlite:
            time.sleep(0.002)  # there the clock has milliseconds
        return job_manager.submit(task, args, **options)

    def run(self, task: JobTask | str, *args: Any, **options: Any) -> Job:
        """Submit, and wait for the end."""
        return self.done(self.submit(task, *args, **options))

    def done(self, job: Job) -> Job:
        """The row, once it has ended."""
        wait_until(lambda: fresh(job).is_final, LONG, f"the end of {job.task}")
        return fresh(job)

    def until(self, job: Job, state: str) -> Job:
        """The row, once it is in that state."""
        wait_until(lambda: fresh(job).state == state, LONG, f"{job.task} {state}")
        return fresh(job)

    def gate(self) -> Path:
        """A file that is not there yet: bodies wait for it. `touch()` opens it."""
        self._gates.append(self.directory / uuid.uuid4().hex)
        return self._gates[-1]

    def open_gates(self) -> None:
        """Let every body go on that waits."""
        for gate in self._gates:
            gate.touch()

    def in_body(self, task: JobTask, gate: Path, *args: Any, **options: Any) -> Job:
        """A job whose body is waiting before the gate."""
        job = self.submit(task, str(gate), *args, **options)
        wait_until(lambda: self.effects(job), LONG, f"{task.name} in its body")
        return fresh(job)

    def effects(self, job: Job) -> list[dict[str, Any]]:
        """What the bodies of this job noted, one line for each time one ran."""
        return [line for line in ledger.read(self.ledger, "effect") if line["job"] == str(job.id)]

    def settle(self) -> None:
        """No limit, nothing under way, and the invariants hold."""
        Pool.objects.update(
            max_concurrent=None,
            max_memory_mb=None,
            max_cpu_weight=None,
            max_disk_mb=None,
            resources={},
            max_retries=None,
            retry_delay=None,
            retry_multiplier=None,
            retry_cap=None,
            retry_jitter=None,
        )
        Limit.objects.filter(name="system").update(size=None)
        self.open_gates()
        for job in Job.objects.exclude(state__in=FINAL):
            job_manager.cancel_job(job.id, reason="the test is over")
        wait_until(lambda: not Job.objects.exclude(state__in=FINAL).exists(), LONG, "the end of all jobs")
        check_invariants(effects=self.ledger)


def fresh(job: Job) -> Job:
    """The row as it is now."""
    return job_manager.get_job(job.id)


def story(job: Job) -> list[str]:
    """The names of a job's events, in order."""
    return list(JobEvent.objects.filter(job=job).order_by("seq").values_list("name", flat=True))


def attempts(job: Job) -> list[Attempt]:
    """A job's attempts, oldest first."""
    return list(Attempt.objects.filter(job=job).select_related("worker").order_by("run", "number"))


def outcomes(job: Job) -> list[str]:
    """How a job's attempts ended, oldest first."""
    return [attempt.outcome for attempt in attempts(job)]


def in_flight() -> int:
    """How many jobs hold a slot."""
    return Job.objects.filter(state__in=IN_FLIGHT).count()


StartWorker = Callable[..., Worker]
