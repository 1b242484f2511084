"""Rows for an admission to look through, written by SQL: the platform's own doors would take an hour for a million.

They are what the doors would have written, but for the first event of each.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from benchmarks.scaling.cases import Case
from jobs.admission.limits import Facts
from jobs.models import Limit

TASK = "benchmarks.bodies.noop"
PARTITION_BY = "customer"

# Ids grow with time, as UUIDv7 do, so that their index looks as it does on a site. A running job has begun just now.
_FILL = """
    INSERT INTO jobs_job (id, task, pool, state, lane, partition_by, partition, created_at, eligible_at, rank,
                          updated_at, attempt_id, queued_at, published_at, started_at)
    SELECT (lpad(to_hex(number), 12, '0') || '7' || substr(digits, 1, 3) || '8' || substr(digits, 4, 15))::uuid,
           %(task)s, %(pool)s, %(state)s, lanes[1 + number %% cardinality(lanes)], %(partition_by)s,
           partitions[1 + number %% cardinality(lanes)], moment, moment, extract(epoch FROM moment),
           moment, attempt, begun, begun, begun
      FROM (SELECT number, md5(number::text) AS digits,
                   %(lanes)s::uuid[] AS lanes, %(partitions)s::text[] AS partitions,
                   now() - interval '1 day' + number * interval '1 millisecond' AS moment,
                   CASE WHEN %(state)s = 'running' THEN gen_random_uuid() END AS attempt,
                   CASE WHEN %(state)s = 'running' THEN now() END AS begun
              FROM generate_series(%(first)s, %(first)s + %(count)s - 1) AS number) AS numbered
"""


def fill(case: Case, pool: str) -> None:
    """Write the waiting jobs, those that run in the full lanes, and the limit of one for each customer.

    The jobs of the lanes with room stand evenly among all others.
    """
    subject = {"pool": pool, "task": TASK, "partition_by": PARTITION_BY}
    Limit.objects.update_or_create(name=TASK, defaults={**subject, "size": 1})
    customers = [f"customer-{number}" for number in range(case.lanes)]
    if case.full:
        _write(pool, "running", customers[: case.full], range(case.full))
    _write(pool, "pending", customers, range(case.full, case.full + case.waiting))


def _write(pool: str, state: str, customers: Sequence[str], numbers: range) -> None:
    values: dict[str, Any] = {
        "task": TASK,
        "pool": pool,
        "state": state,
        "partition_by": PARTITION_BY,
        "partitions": list(customers),
        "lanes": [Facts(TASK, partition_by=PARTITION_BY, partition=customer).lane for customer in customers],
        "first": numbers.start,
        "count": len(numbers),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FILL, values)


def settle() -> None:
    """Do what autovacuum has long done on a site that lives, so that it does not come in the middle."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def give_back() -> None:
    """Let the jobs that were admitted wait again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET state = 'pending', attempt_id = NULL, queued_at = NULL, published_at = NULL"
            " WHERE state = 'queued'"
        )
