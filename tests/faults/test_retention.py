"""Retention in the middle of everything: what runs, and what belongs to it, stays; what comes too late is quiet."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from subprocess import Popen

import pytest

from jobs import job_manager
from jobs.maintenance import pruner
from jobs.models import Attempt, Job, JobEvent, JobLog
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults import actors
from tests.faults.conftest import StartWorker
from tests.faults.observing import state_of, wait_for, wait_for_end, wait_for_lines
from tests.invariants import check_invariants

AT_ONCE = {"completed": 0.0, "failed": 0.0, "cancelled": 0.0}


@pytest.mark.every_stack
def test_pruning_all_the_while_takes_nothing_that_is_not_over(
    served: StartWorker, ledger_file: Path, gate: Path
) -> None:
    """Fault 42: with a cut-off of now, while jobs run; one runs below a parent that has ended."""
    served()
    parent = job_manager.submit(touch)
    wait_for_end([parent], 15)
    child = job_manager.submit(hold, [str(gate)])
    Job.objects.filter(pk=child.pk).update(parent=parent)
    wait_for_lines(ledger_file, "begin", 1, 15)
    jobs = job_manager.submit_many(touch, [((), {})] * 60)
    deleted: Counter[str] = Counter()

    def all_but_the_tree_are_gone() -> bool:
        deleted.update(pruner.prune(AT_ONCE, batch=7))
        return not Job.objects.exclude(pk__in=[parent.pk, child.pk]).exists()

    wait_for(all_but_the_tree_are_gone, 60, "the end of all others")
    assert deleted == Counter(completed=60)
    assert (state_of(parent), state_of(child)) == ("completed", "running")
    ran = Counter(line["job"] for line in ledger.read(ledger_file, EFFECT))
    assert all(ran[str(job.id)] == 1 for job in jobs)
    check_invariants()
    gate.touch()
    wait_for_end([child], 10)
    assert pruner.prune(AT_ONCE) == Counter(completed=2)
    assert not any(model._base_manager.exists() for model in (Job, JobEvent, JobLog, Attempt))


def test_the_end_of_a_body_whose_job_was_deleted_is_quiet(served: StartWorker, ledger_file: Path, gate: Path) -> None:
    """Fault 42: only the database's owner can delete what runs. The worker says nothing, and goes on."""
    worker = served(concurrency=1)
    job = job_manager.submit(hold, [str(gate)], {"talking": True})
    wait_for_lines(ledger_file, "begin", 1, 15)
    for model in (JobLog, JobEvent, Attempt):
        model._base_manager.filter(job=job)._raw_delete("default")
    Job.objects.filter(pk=job.pk)._raw_delete("default")
    gate.touch()
    wait_for_lines(ledger_file, EFFECT, 1, 10)
    wait_for_end([job_manager.submit(touch) for _ in range(3)], 15)
    assert "Traceback" not in worker.text()
    assert "ERROR" not in worker.text()


def test_a_run_that_was_killed_is_gone_on_with(served: StartWorker, ledger_file: Path) -> None:
    """It dies in the middle of a transaction; nothing of that one is gone, and the next run deletes all the rest."""
    served()
    jobs = job_manager.submit_many(touch, [((), {})] * 30)
    wait_for_end(jobs, 30)
    dying: Popen[bytes] = actors.start("die_while_pruning", "7")
    assert dying.wait(30) == -signal.SIGKILL
    left = Job.objects.count()
    assert left == 30 - 14
    check_invariants()
    assert pruner.prune(AT_ONCE, dry_run=True).total() == pruner.prune(AT_ONCE).total() == left
