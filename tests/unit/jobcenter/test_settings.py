"""`jobcenter/settings.py`, loaded by a fresh interpreter as a start would load it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from celery.fixups.django import DjangoWorkerFixup  # type: ignore[attr-defined]  # not in the stubs

from jobcenter.celery import app

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[3]
PRINT = """
import json
from jobcenter import settings as s
print(json.dumps({name: getattr(s, name) for name in dir(s) if name in %r}))
"""


def start(code: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `code` with nothing in the environment but `env`."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(env), capture_output=True, text=True, check=False
    )


def settings(*names: str, **env: str) -> dict[str, Any]:
    done = start(PRINT % (names,), env)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_everything_has_a_default() -> None:
    loaded = settings("DEBUG", "DATABASES", "CELERY_BROKER_URL", "JOBS")
    assert loaded["DEBUG"] is True
    assert loaded["DATABASES"]["default"]["NAME"] == str(ROOT / "var/jobcenter.sqlite3")
    assert loaded["CELERY_BROKER_URL"] == f"redis+socket://{ROOT}/var/valkey.sock"
    assert loaded["JOBS"]["MAX_CONCURRENT"] == 5
    assert loaded["JOBS"]["CLEANUP_INTERVAL"] == 300
    assert loaded["JOBS"]["RETENTION"] == dict.fromkeys(("completed", "failed", "cancelled"), 7 * 24 * 3600)


def test_the_job_manager_speaks_in_milliseconds() -> None:
    loaded = settings(
        "JOBS", JOB_MANAGER_MAX_CONCURRENT="2", JOB_MANAGER_CLEANUP_INTERVAL="1500", JOB_MANAGER_MAX_RETENTION="3600000"
    )["JOBS"]
    assert loaded["MAX_CONCURRENT"] == 2
    assert loaded["CLEANUP_INTERVAL"] == 1.5
    assert loaded["RETENTION"] == dict.fromkeys(("completed", "failed", "cancelled"), 3600)


def test_production_start_without_a_key_is_refused() -> None:
    refused = start("import jobcenter.settings", {"JOBCENTER_DEBUG": "0"})
    assert refused.returncode == 1
    assert "ImproperlyConfigured: JOBCENTER_SECRET_KEY is not set" in refused.stderr
    loaded = settings(
        "DEBUG", "ALLOWED_HOSTS", JOBCENTER_DEBUG="0", JOBCENTER_SECRET_KEY="k", JOBCENTER_ALLOWED_HOSTS="a.b, c.d"
    )
    assert loaded == {"DEBUG": False, "ALLOWED_HOSTS": ["a.b", "c.d"]}


def test_contradicting_stores_fail_the_checks() -> None:
    env = {"JOB_STORE_TYPE": "file", "DATABASE_URL": "postgresql://nobody@localhost/none"}
    checked = start("import sys; sys.argv = ['manage.py', 'check']; import manage; manage.main()", env)
    assert checked.returncode == 1
    assert "jobcenter.E001" in checked.stderr


def test_workers_keep_their_connection() -> None:
    """Celery's Django fix-up reads this name; what it does not find there costs a new connection for every task."""
    assert app.conf.get("CELERY_DB_REUSE_MAX") == 10_000
    assert DjangoWorkerFixup(app).db_reuse_max == 10_000


def test_celery_is_set_as_the_design_demands() -> None:
    conf = app.conf
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert not conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.broker_channel_error_retry
    assert conf.broker_connection_retry_on_startup
    assert conf.task_default_queue == "default"
