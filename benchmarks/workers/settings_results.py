"""Django settings for django-celery-results, those of its documentation, and what the variant asks for.

Its page "Getting started" demands the backend alone and offers `CELERY_TASK_TRACK_STARTED` to those who want to know
when a task started; the settings shown in Celery's "First steps with Django" have it on. It is on here, because the
platform records starts as well; `BENCH_TRACK_STARTED=0` measures the minimum, `BENCH_DB_REUSE_MAX` keeps the
connection.
"""

import os

from benchmarks.workers.settings_common import *  # noqa: F403  # the way Django settings extend others

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_celery_results"]
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_TRACK_STARTED = os.environ.get("BENCH_TRACK_STARTED", "1") == "1"
if "BENCH_DB_REUSE_MAX" in os.environ:
    CELERY_DB_REUSE_MAX = int(os.environ["BENCH_DB_REUSE_MAX"])
