"""Settings of the tests that run real workers, for the test process and for the workers alike.

DATABASE_URL and CELERY_BROKER_URL come from `tests/run.py`. The times of liveness are a tenth of the real ones; no
maximum is set. JOBCENTER_TEST_JOBS (JSON) lays single values over `JOBS`, for one worker or for a whole run;
JOBCENTER_TEST_PATIENCE=2 doubles the times after which somebody silent is given up.
"""

import json
import os

os.environ.setdefault("JOBCENTER_DEBUG", "0")
os.environ.setdefault("JOBCENTER_SECRET_KEY", "only-for-tests")

from jobcenter.settings import *  # noqa: F403  # settings are inherited whole, once the environment is set
from jobcenter.settings import CELERY_BROKER_TRANSPORT_OPTIONS, DATABASES, INSTALLED_APPS, LOGGING  # the same

INSTALLED_APPS = [*INSTALLED_APPS, "tests.app"]
DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}  # workers must meet the tests' own rows
CELERY_IMPORTS = ["tests.app.faulty", "tests.app.stubborn"]
patience = float(os.environ.get("JOBCENTER_TEST_PATIENCE", "1"))
JOBS = {
    "STALE_AFTER": 3 * patience,
    "HEARTBEAT": 0.5,
    "LEASE": 1 * patience,
    "TICK": 0.2,
    "LOST_AFTER": 2 * patience,
    "PUBLISH_AFTER": 0.5,
    "SAMPLE_EVERY": 0.2,
} | json.loads(os.environ.get("JOBCENTER_TEST_JOBS", "{}"))
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = float(os.environ.get("JOBCENTER_TEST_SOFT_SHUTDOWN", "0"))
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = "JOBCENTER_TEST_CANCEL_ON_LOSS" in os.environ
if seconds := os.environ.get("JOBCENTER_TEST_VISIBILITY"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= {"visibility_timeout": float(seconds)}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A line for each move of thousands of jobs would hide why a test failed; that they are written is tested in `unit`.
LOGGING["loggers"] = {"jobs.transitions": {"level": "WARNING"}}
