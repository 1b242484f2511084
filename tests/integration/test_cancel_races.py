"""A request to cancel in the very moment of the claim, or of the end: one of them is first, and both know it."""

from __future__ import annotations

import os
from collections import Counter
from typing import NoReturn

import pytest

from jobs import job_manager
from jobs.execution import claims
from jobs.execution.attempt import perform, run
from jobs.models import Attempt, transitions
from tests.app import stages
from tests.app.jobs import probe
from tests.integration.crowd import at_once
from tests.invariants import check_invariants
from tests.services import Stack
from tests.services.stacks import NAME

ROUNDS = 60 if os.environ.get(NAME, "").startswith("mariadb") else 200  # each takes three times as long there


def test_cancel_against_claim(stack: Stack) -> None:
    """Fault 34: CANCELLED without a body, or a body that was asked to stop; never a body after CANCELLED."""
    worker = stages.start_worker()
    seen: Counter[tuple[str, bool]] = Counter()
    for _ in range(ROUNDS):
        row = job_manager.submit(probe, run_after=3600)
        ran: list[int] = []
        transitions.move("run_now", "id = %s", [stages.key(row)])
        attempt_id = stages.queue(row)
        answer, did_run = at_once(
            lambda: job_manager.cancel_job(row.id),  # noqa: B023 - called in this round
            lambda: perform(row.id, attempt_id, lambda: ran.append(1), worker),  # noqa: B023
        )
        seen[str(answer), did_run] += 1
        assert did_run == bool(ran)
        assert (answer == "CANCELLED") is not did_run
        done = stages.fresh(row)
        assert done.state == ("completed" if did_run else "cancelled")
        assert list(Attempt.objects.filter(job=row).values_list("outcome", flat=True)) == ["completed"] * did_run
    print(dict(seen))  # noqa: T201 - both ways should come up
    check_invariants()


@pytest.mark.parametrize("ending", ["well", "badly"])
def test_cancel_against_the_end(stack: Stack, ending: str) -> None:
    """Fault 35: one end, one outcome; whoever asked too late hears so."""
    worker = stages.start_worker()
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(ROUNDS // 2):
        row = job_manager.submit(probe, run_after=3600)
        transitions.move("run_now", "id = %s", [stages.key(row)])
        claimed = claims.claim(row.id, stages.queue(row), worker)
        assert claimed is not None
        answer, _ = at_once(
            lambda: job_manager.cancel_job(row.id),  # noqa: B023 - called in this round
            lambda: run(claimed, _fail if ending == "badly" else int),  # noqa: B023
        )
        done = stages.fresh(row)
        seen[str(answer), done.state] += 1
        (attempt,) = Attempt.objects.filter(job=row)
        assert attempt.outcome == done.state
        if ending == "well":
            assert done.state == "completed"  # an end wins over a late request
        elif answer == "ALREADY_FINAL":
            assert done.state == "failed"
        else:
            assert done.state in ("failed", "cancelled")
        assert job_manager.cancel_job(row.id) == "ALREADY_FINAL"
        stages.check_history(done)
    print(dict(seen))  # noqa: T201 - both ways should come up
    check_invariants()


def _fail() -> NoReturn:
    raise ValueError("badly")
