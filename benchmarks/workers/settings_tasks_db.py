"""Django settings for django-tasks-db, those of its page; `BENCH_CONN_MAX_AGE` keeps the connection over tasks.

Before Django 6.0 the names of Django's own tasks come from the app django-tasks.
"""

import os

import django

from benchmarks.workers.settings_common import *  # noqa: F403  # the way Django settings extend others
from benchmarks.workers.settings_common import DATABASES

INSTALLED_APPS = ["django_tasks_db"] if django.VERSION >= (6, 0) else ["django_tasks", "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}
DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ.get("BENCH_CONN_MAX_AGE", "0"))
