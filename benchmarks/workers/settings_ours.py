"""Django settings for this platform: the project's own, on the trial's servers.

As in every other system nothing below WARNING is logged (the worker's default) and DEBUG is off. The system-wide
maximum is on and does not bind.
"""

from benchmarks.workers import settings_common
from jobcenter import environment
from jobcenter.settings import *  # noqa: F403  # the way Django settings extend others
from jobcenter.settings import JOBS as PROJECT_JOBS

DEBUG = False
SECRET_KEY = settings_common.SECRET_KEY
DATABASES = settings_common.DATABASES
CELERY_BROKER_URL = settings_common.CELERY_BROKER_URL
CELERY_BROKER_TRANSPORT_OPTIONS = environment.broker_options(CELERY_BROKER_URL)
JOBS = {**PROJECT_JOBS, "MAX_CONCURRENT": 1_000_000}
CELERY_IMPORTS = ["benchmarks.workers.ours_tasks"]
