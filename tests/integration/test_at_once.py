"""Two that do the same thing, or opposite things, in the same moment: each gets an answer, and only one has done it."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import pytest

from jobs import job_manager
from jobs.execution import attempt, claims
from jobs.models import Job, JobEvent, transitions
from jobs.states import FINAL
from tests.app import stages
from tests.app.jobs import nap, probe
from tests.integration.actors import do_chores, wish
from tests.integration.crowd import at_once, crowd
from tests.integration.house import StartWorker
from tests.invariants import check_invariants, check_probe
from tests.services import Stack
from tests.services.processes import wait_until

ROUNDS = 100


def test_a_key_is_asked_for_in_the_moment_its_job_ends(stack: Stack) -> None:
    """Fault 33: the answer is the old job or a new one, and there are never two that have not ended."""
    worker = stages.start_worker()
    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        first = job_manager.run_job(number, probe, run_after=3600).job
        transitions.move("run_now", "id = %s", [stages.key(first)])
        claimed = claims.claim(first.id, stages.queue(first), worker)
        assert claimed
        answers = at_once(
            lambda: attempt.run(claimed, int),  # noqa: B023 - called in this round
            *[lambda: job_manager.run_job(number, probe, run_after=3600)] * 2,  # noqa: B023
        )[1:]
        assert stages.fresh(first).state == "completed"
        made = {answer.job.id for answer in answers if answer.created}
        assert len(made) <= 1
        assert {answer.job.id for answer in answers} <= {first.id, *made}
        assert {job.id for job in Job.objects.filter(key=first.key).exclude(state__in=FINAL)} == made
        seen.update(answer.type for answer in answers)
    print(dict(seen))  # noqa: T201 - both answers should come up
    check_invariants()


def test_a_retry_that_is_clicked_twice_is_one(stack: Stack) -> None:
    """Fault 37: two tabs; the second hears that there is nothing to retry any more."""
    rows = job_manager.submit_many(probe, [((), {})] * ROUNDS)
    assert job_manager.cancel_jobs(task=probe.name) == {"CANCELLED": ROUNDS}
    one, other = crowd(2, wish, [(row.id, uuid4()) for row in rows], ["retry", "retry"])
    assert all(sorted(both) == ["NOT_FINAL", "REQUEUED"] for both in zip(one, other, strict=True))
    assert JobEvent.objects.filter(name="requeue").count() == ROUNDS
    assert set(Job.objects.values_list("run", flat=True)) == {2}


@pytest.mark.timeout(300)
def test_thousands_are_cancelled_while_they_run(start_worker: StartWorker, stack: Stack) -> None:
    """Fault 37: twice at once, beside two workers; the counts are exact, and what was cancelled has not run."""
    for _ in range(2):
        start_worker()
    number = 10_000 if stack.name == "postgres+redis" else 3_000  # once is enough: it takes a minute
    total = len(job_manager.submit_many(nap, [((0.01,), {})] * number))
    wait_until(lambda: Job.objects.filter(state="completed").count() > 20, 20, "some that have ended")
    counts = at_once(*[lambda: job_manager.cancel_jobs(task=nap.name)] * 2)
    wait_until(lambda: not Job.objects.exclude(state__in=FINAL).exists(), 30, "the end of all")
    ended = Counter(Job.objects.values_list("state", flat=True))
    print(counts, dict(ended))  # noqa: T201 - shown with a failure
    assert set(ended) == {"completed", "cancelled"}
    assert ended.total() == total
    unbegun = Job.objects.filter(state="cancelled", attempt=0, started_at=None).count()
    assert sum(one["CANCELLED"] for one in counts) == unbegun
    assert 0 <= ended["cancelled"] - unbegun <= sum(one["REQUESTED"] for one in counts)
    check_probe()


def test_four_stewards_at_once_do_each_chore_once(stack: Stack) -> None:
    """Fault 30: whoever still believes himself in office promotes, admits and rings; each job once all the same."""
    jobs = job_manager.submit_many(probe, [((), {})] * 400, run_after=3600)
    Job.objects.update(run_after=jobs[0].created_at)
    sent = [pair for told in crowd(4, do_chores, 5) for pair in told]
    names = Counter(JobEvent.objects.values_list("job_id", "name"))
    assert {names[job.id, "due"] for job in jobs} == {1}
    assert max(names[job.id, "admit"] for job in jobs) == 1
    admitted = Job.objects.filter(state="queued")
    assert admitted.count() > 0
    assert set(sent) == {(str(job.id), str(job.attempt_id)) for job in admitted}
