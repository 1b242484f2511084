"""Who fails a job dies before its fallback is submitted; the worker of a job that may run once dies."""

import signal
from pathlib import Path

from jobs import job_manager
from jobs.models import Job
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults import actors
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, wait_for, wait_for_end, wait_for_lines


def test_a_fallback_is_not_lost_with_who_failed_the_job(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """`kill -9` between the commit of the failure and the fallback: the steward submits it, once."""
    assert actors.start("die_before_the_fallback").wait(30) == -signal.SIGKILL
    failed = Job.objects.get()
    assert (failed.state, failed.error_category, failed.fallback_due) == ("failed", "expired", True)
    served(concurrency=1)
    seconds = wait_for(lambda: Job.objects.count() == 2, 15, "the fallback")
    recovered("who failed a job is killed before its fallback; submitted by the steward", seconds)
    (made,) = Job.objects.exclude(pk=failed.pk)
    wait_for_end([made], 15)
    made.refresh_from_db()
    assert (made.state, made.metadata["fallback_of"]) == ("completed", str(failed.id))
    assert events(failed).count("fallback") == 1
    assert len(ledger.read(ledger_file, EFFECT)) == 1


def test_what_may_run_once_is_not_run_again_when_its_worker_dies(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 3, where nobody may know whether the body has had its effect: it has failed, and is not begun again."""
    victim = served(concurrency=2)
    once = job_manager.submit(hold, [str(gate)], at_most_once=True, fallback=touch)
    plain = job_manager.submit(hold, [str(gate)])
    wait_for_lines(ledger_file, "begin", 2, 15)
    victim.kill()
    served(concurrency=2)
    seconds = wait_for_end([once], 20)
    recovered("3: the worker of a job that may run once is killed; failed as lost", seconds)
    gate.touch()
    wait_for_end([plain], 20)
    once.refresh_from_db()
    assert (once.state, once.error_category, outcomes(once)) == ("failed", "lost", ["failed"])
    assert outcomes(plain) == ["lost", "completed"]
    begun = [line["job"] for line in ledger.read(ledger_file, "begin")]
    assert (begun.count(str(once.id)), begun.count(str(plain.id))) == (1, 2)
    refused = once.events.get(name="fallback").data["refused"]  # `touch` takes no gate
    assert "InvalidArguments" in refused
