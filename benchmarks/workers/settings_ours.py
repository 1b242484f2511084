"""Django settings for this platform: the project's own, on the trial's servers.

DEBUG is off, and as in every other system nothing below WARNING is logged, in no process: that is the default of Django
and of a Celery worker, while the project's own settings say INFO. The system-wide maximum is on and does not bind. All
else is as the project has it; `BENCH_LOOK_AHEAD` measures another look-ahead than the default.
"""

import os

from benchmarks.workers import settings_common
from jobcenter import environment
from jobcenter.settings import *  # noqa: F403  # the way Django settings extend others
from jobcenter.settings import JOBS as PROJECT_JOBS
from jobcenter.settings import LOGGING as PROJECT_LOGGING

DEBUG = False
SECRET_KEY = settings_common.SECRET_KEY
DATABASES = settings_common.DATABASES
CELERY_BROKER_URL = settings_common.CELERY_BROKER_URL
CELERY_BROKER_TRANSPORT_OPTIONS = environment.broker_options(CELERY_BROKER_URL)
JOBS = {**PROJECT_JOBS, "MAX_CONCURRENT": 1_000_000}
if "BENCH_LOOK_AHEAD" in os.environ:
    JOBS["LOOK_AHEAD"] = int(os.environ["BENCH_LOOK_AHEAD"])
LOGGING = {**PROJECT_LOGGING, "root": {**PROJECT_LOGGING["root"], "level": "WARNING"}}
CELERY_IMPORTS = ["benchmarks.workers.ours_tasks"]
