"""This platform: the project's Celery app. The job is in `ours_tasks`, which Celery loads once Django is set up."""

from benchmarks.workers import ready
from jobcenter.celery import app

__all__ = ["app", "ready"]
