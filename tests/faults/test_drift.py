"""Rows that contradict the workers: found and repaired by whoever is the steward, and told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import job_manager
from jobs.maintenance import drift
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import EFFECT, hold
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, wait_for_end, wait_for_lines


@pytest.mark.every_stack
def test_what_ran_on_a_worker_whose_row_was_deleted_is_taken_back(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """No heartbeat is left that could stand still, and no row that could be fenced."""
    victim = served(concurrency=1)
    job = job_manager.submit(hold, [str(gate)])
    wait_for_lines(ledger_file, "begin", 1, 15)
    victim.kill()
    WorkerRow.objects.all()._raw_delete("default")
    gate.touch()
    served()
    recovered("a killed worker has no row any more; its job done", wait_for_end([job], 30))
    assert outcomes(job) == ["lost", "completed"]
    assert events(job) == ["create", "admit", "claim", "rescue", "drift", "admit", "claim", "complete"]
    assert len(ledger.read(ledger_file, EFFECT)) == 1
    assert drift.check() == []
