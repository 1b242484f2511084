"""The body as a job of this platform."""

from benchmarks import bodies
from jobs import job

noop = job(bodies.noop)
