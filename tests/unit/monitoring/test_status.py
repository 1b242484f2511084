"""The status answer: what a client polls."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.test import override_settings

from jobs import JobState, job, job_manager
from jobs.models import Job
from jobs.monitoring.status import status_of
from jobs.states import FINAL
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db
KEYS = {
    "job_id",
    "task",
    "key",
    "status",
    "state",
    "message",
    "progress",
    "stage",
    "sub_progress",
    "diagnostics",
    "metadata",
    "attempt",
    "run",
    "max_retries",
    "retry_count",
    "priority",
    "reason",
    "current_step",
    "total_chunks",
    "completed_chunks",
    "failed_chunks",
    "created_at",
    "updated_at",
    "run_after",
    "queued_at",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "expires_at",
    "polling_recommendation",
    "error",
}


@job(name="status.nothing")
def nothing() -> None: ...


def test_it_is_plain_data_with_fixed_keys() -> None:
    row = job_manager.run_job("k", nothing, metadata={"m": 1}).job
    status: dict[str, Any] = status_of(stages.fresh(row))
    assert set(status) == KEYS
    assert (status["job_id"], status["key"], status["metadata"]) == (str(row.id), "k", {"m": 1})
    json.dumps(status, cls=DjangoJSONEncoder)


@pytest.mark.parametrize("state", JobState)
def test_state_and_coarse_word(state: JobState) -> None:
    status = status_of(stages.put(job_manager.submit(nothing), state))
    assert status["state"] == state
    assert status["status"] == (state if state in FINAL | {"running", "paused"} else "pending")


def test_when_to_look_again(clock: Clock) -> None:
    row = job_manager.submit(nothing)
    with override_settings(JOBS={"POLLING": {"initial": 2.5}}):
        advice = status_of(row)["polling_recommendation"]
    assert advice == {"interval": 2500, "next_check_time": clock.moment + timedelta(seconds=2.5)}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_has_ended_need_not_be_read_again(state: str) -> None:
    status = status_of(stages.put(job_manager.submit(nothing), state))
    assert status["polling_recommendation"] == {"interval": None, "next_check_time": None}


def test_the_error() -> None:
    row = job_manager.submit(nothing)
    assert status_of(row)["error"] is None
    Job.objects.filter(pk=row.pk).update(error_category="user", error_type="ValueError", error_message="no")
    assert status_of(stages.fresh(row))["error"] == {
        "category": "user",
        "type": "ValueError",
        "message": "no",
        "fingerprint": "",
    }
