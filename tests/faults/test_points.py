"""A pool child dies at one exact point of an attempt; a worker lives in another time; a worker takes another's name."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from jobs import job_manager
from jobs.models import Attempt, Job
from jobs.models import Worker as WorkerRow
from tests.app import ledger, points
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services import Worker

LOST = ["lost", "completed"]
EFFECTS = {"before_claim": 1, "after_claim": 1, "after_body": 2, "after_finish": 1}  # "at least once", by the point
OUTCOMES = {"before_claim": LOST[1:], "after_claim": LOST, "after_body": LOST, "after_finish": LOST[1:]}


@pytest.mark.parametrize("point", EFFECTS)
def test_a_child_that_dies_at_a_point_of_its_attempt(
    point: str, served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 2: what was not claimed rings again, what was claimed is lost and runs again, what has ended has ended."""
    served(env={points.POINT: point})
    job = job_manager.submit(touch)
    wait_for_lines(ledger_file, "died", 1, 20)
    recovered(f"2: a child dies {point.replace('_', ' ')}; done", wait_for_end([job], 30))
    wait_for_end([job_manager.submit(touch) for _ in range(4)], 20)  # whatever was to come of it has come
    assert state_of(job) == "completed"
    assert outcomes(job) == OUTCOMES[point]
    assert len([line for line in ledger.read(ledger_file, EFFECT) if line["job"] == str(job.id)]) == EFFECTS[point]


@pytest.mark.parametrize("point", ["after_claim", "after_body"])
def test_what_may_run_once_is_not_begun_again(point: str, served: StartWorker, ledger_file: Path) -> None:
    """Fault 2, `at_most_once`: nobody may know whether the effect is there, so it has failed."""
    served(env={points.POINT: point})
    job = job_manager.submit(touch, at_most_once=True)
    wait_for_end([job], 30)
    assert (state_of(job), outcomes(job)) == ("failed", ["failed"])
    assert Job.objects.get(pk=job.pk).error_category == "lost"
    assert len(ledger.read(ledger_file, EFFECT)) == (1 if point == "after_body" else 0)


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_worker_with_a_wrong_clock_is_neither_dead_nor_early(
    seconds: int, served: StartWorker, ledger_file: Path, gate: Path
) -> None:
    """Fault 29: ten minutes fast or slow, with the steward in it, beside a worker whose clock is right."""
    wrong = served(env={points.CLOCK: str(seconds)})
    job = job_manager.submit(hold, [str(gate)])
    wait_for_lines(ledger_file, "begin", 1, 20)
    served()
    soon, later = (job_manager.submit(touch, run_after=delay) for delay in (5, 3600))
    wait_for_end([soon], 30)
    assert state_of(later) == "scheduled"
    gate.touch()
    wait_for_end([job], 15)
    assert events(job) == ["create", "admit", "claim", "complete"]
    assert not WorkerRow.objects.filter(fenced_at__isnull=False).exists()
    (begun, due) = Attempt.objects.filter(job=soon).values_list("started_at", "job__run_after").get()
    assert begun >= due
    assert all(one.finished_at and one.finished_at >= one.started_at for one in Attempt.objects.all())
    assert not wrong.ended()
    assert abs(_error_of_its_clock(wrong) - seconds) < 60


def _error_of_its_clock(worker: Worker) -> float:
    """By its log, whose last lines were written a moment ago."""
    said = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),", worker.text(), re.MULTILINE)[-1]
    return (datetime.fromisoformat(said) - datetime.now()).total_seconds()  # noqa: DTZ005 - the log's is local


def test_a_worker_with_the_name_of_a_dead_one_is_not_taken_for_it(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 45: the same host, the same name, at last the same process id; its boot id is another."""
    worker = served()
    jobs = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    wait_for_lines(ledger_file, "begin", 2, 20)
    dead = WorkerRow.objects.get(hostname=worker.name)
    worker.kill()
    worker.start()
    WorkerRow.objects.filter(pk=dead.pk).update(pid=worker.pid)  # as if the numbers had come round
    wait_for(lambda: WorkerRow.objects.filter(hostname=worker.name).count() == 2, 15, "its row")
    wait_for_lines(ledger_file, "begin", 4, 30)
    gate.touch()
    recovered("45: a killed worker's name and pid are another's; both jobs done", wait_for_end(jobs, 20))
    assert [outcomes(job) for job in jobs] == [["lost", "completed"]] * 2
    assert {one.worker_id == dead.pk for one in Attempt.objects.filter(outcome="lost")} == {True}
    assert not Attempt.objects.filter(worker=dead, outcome="completed").exists()
