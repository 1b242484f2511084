"""Celery with django-celery-results, set up as Celery's page "First steps with Django" does it."""

from celery import Celery

from benchmarks import bodies
from benchmarks.workers import ready

__all__ = ["app", "noop", "ready"]

app = Celery("results")
app.config_from_object("django.conf:settings", namespace="CELERY")

noop = app.task(bodies.noop)
