"""Why a job waits, on real databases: who holds what, whose turn it is, and that admission agrees."""

from __future__ import annotations

from jobs import Job, job_manager
from jobs.models import Limit, Pool
from tests.app import stages
from tests.app.jobs import probe
from tests.services import Stack


def _kinds(row: Job) -> list[str]:
    return [reason.kind for reason in job_manager.why(row.id).blockers]


def test_the_reason_goes_and_so_does_the_job(stack: Stack) -> None:
    row = job_manager.submit(probe)
    assert _kinds(row) == ["no_worker"]
    job_manager.pause_pool("default", "maintenance", actor="ada")
    stages.start_worker()
    assert _kinds(row) == ["pool_paused"]
    assert job_manager.why(row.id).sentence == "Pool “default” was paused by ada just now: maintenance."
    job_manager.resume_pool("default")  # admits on its commit
    assert stages.fresh(row).state == "queued"
    assert _kinds(row) == ["sent"]


def test_who_holds_it_in_another_pool(stack: Stack) -> None:
    Pool.objects.create(name="gpu")
    Limit.objects.filter(name="system").update(size=1)
    stages.start_worker(pools=["default", "gpu"])
    holder = job_manager.submit(probe, pool="gpu")
    assert stages.fresh(holder).state == "queued"
    row = job_manager.submit(probe)
    (reason,) = job_manager.why(row.id).blockers
    assert (reason.kind, reason.limit, reason.size, reason.used) == ("limit", "system", 1, 1)
    assert [one.id for one in reason.holders] == [holder.id]
    Limit.objects.filter(name="system").update(size=2)
    assert job_manager.why(row.id).is_next
    stages.admit()
    assert stages.fresh(row).state == "queued"


def test_budgets_partitions_and_places(stack: Stack) -> None:
    Pool.objects.filter(name="default").update(max_memory_mb=100, resources={"gpu": 1})
    stages.start_worker()
    large = job_manager.submit(probe, memory_mb=80, resources={"gpu": 1}, timeout=60)
    rows = job_manager.submit_many(probe, [([], {})] * 3, memory_mb=30, resources={"gpu": 1})
    said = [job_manager.why(row.id) for row in rows]
    assert [[reason.limit for reason in one.blockers] for one in said] == [["memory_mb", "gpu"]] * 3
    assert [one.position.number for one in said if one.position] == [0, 1, 2]
    assert said[0].blockers[0].short_by == 10
    assert {holder.id for reason in said[0].blockers for holder in reason.holders} == {large.id}
    job_manager.cancel_job(large.id)  # admits on its commit
    assert [stages.fresh(row).state for row in rows] == ["queued", "pending", "pending"]
