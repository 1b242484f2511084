"""The pytest plugin: fixtures for projects whose code submits jobs. On pytest-django; found by its entry point.

pytest loads this before Django is set up: what needs the models is imported when a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobs.models import Job


class InlineJobs:
    """What `jobs_inline` is."""

    def drain(self, max_jobs: int | None = None) -> list[Job]:
        """Run what waits, here and now; see `jobs.testing.drain`."""
        from jobs.testing.drainer import drain  # noqa: PLC0415 - see the module's docstring

        return drain(max_jobs)


@pytest.fixture
def jobs_inline(db: None) -> InlineJobs:
    """`jobs_inline.drain()` runs waiting jobs in the test process, on the real way from submission to the end.

    Works inside the transaction of pytest-django's `db` and with `transactional_db`, on SQLite in memory as well.
    """
    return InlineJobs()


@pytest.fixture
def jobs_worker(transactional_db: None) -> Iterator[Any]:
    """A real threads worker in the test process, on the broker and the database of the settings; Celery's controller.

    Wait for jobs with `job_manager.handle(job.id).wait(timeout=…)`. Not with SQLite in memory: use a file.
    """
    from jobs.testing.threads import threads_worker  # noqa: PLC0415 - see the module's docstring

    with threads_worker() as controller:
        yield controller
