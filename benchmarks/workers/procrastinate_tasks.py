"""The body as a task of procrastinate."""

from procrastinate.contrib.django import app

from benchmarks import bodies

noop = app.task(bodies.noop)
