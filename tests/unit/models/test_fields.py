"""A payload column: what cannot be read is kept, shown and refused, never in the way of others."""

import pytest
from django.db import connection

from jobs import Job, job, job_manager
from jobs.models.fields import Unreadable
from jobs.testing import drain


@job
def plus(a: int, b: int) -> int:
    return a + b


NEWER = '[{"__jobs__":"matrix","value":"1 0"}]'


@pytest.mark.django_db
def test_what_a_newer_version_wrote_fails_its_job_and_hides_no_other() -> None:
    unreadable, other = job_manager.submit(plus, [1, 2]), job_manager.submit(plus, [3, 4])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET args = %s WHERE id = %s", [NEWER, unreadable.id.hex])

    drain()

    assert job_manager.get_job_results(other.id) == 7
    failed = job_manager.get_job(unreadable.id)
    assert (failed.state, failed.error_type) == ("failed", "jobs.exceptions.InvalidArguments")
    assert "older than its caller" in failed.error_message
    assert [row.id for row in job_manager.list_jobs()] == [other.id, unreadable.id]


@pytest.mark.django_db
def test_it_is_written_back_as_it_was() -> None:
    row = job_manager.submit(plus, [1, 2])
    row.args = Unreadable(NEWER, "unknown tag")
    row.save(update_fields=["args"])
    assert Job.objects.get(pk=row.pk).args.text == NEWER
