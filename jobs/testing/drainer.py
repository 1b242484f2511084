"""Runs what waits, in the test's own process: really submitted, admitted, claimed and finished, without a broker.

Nothing is mocked, and nothing may be: what a test sees here is what a worker would have done.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from jobs.client import eager
from jobs.core.conf import settings
from jobs.models import Job
from jobs.testing.commits import Commits

ENOUGH = 1000  # attempts, after which a drain without `max_jobs` takes the work for endless


def drain(max_jobs: int | None = None) -> list[Job]:
    """Run waiting jobs until none is left that can run, or `max_jobs` attempts have; returns the jobs that ran.

    Retries, delays and schedules run at once, on a virtual clock. The answer holds each job once, as its row is now, in
    the order in which they first ran. What a person holds (`start=False`, a paused pool) and what has no room stays.
    Inside a test's transaction what the jobs commit counts as committed: their `on_commit` callbacks and signals run.
    Raises RuntimeError after 1,000 attempts where `max_jobs` does not say how many.
    """
    with eager.worker() as worker:
        ids = list(islice(_committing(worker.work()), ENOUGH + 1 if max_jobs is None else max_jobs))
    if max_jobs is None and len(ids) > ENOUGH:
        raise RuntimeError(
            f"drain() has run {ENOUGH:,} attempts, and job {ids[-1]} is not the last: does something snooze, retry or "
            "submit for ever? If not, say how many to run: drain(max_jobs=…)."
        )
    rows = Job.objects.using(settings.DATABASE).in_bulk(ids)
    return [rows[job_id] for job_id in dict.fromkeys(ids) if job_id in rows]


def _committing(attempts: Iterator[UUID]) -> Iterator[UUID]:
    """After each attempt, what it would have set off by its commits."""
    commits = Commits()
    for job_id in attempts:
        commits.run()
        yield job_id
