"""The body as jobs of this platform."""

from benchmarks import bodies
from jobs import job

noop = job(bodies.noop)


@job
def for_customer(customer: str) -> None:
    """The same for somebody, so that it can be limited by whom it is for."""
    bodies.noop()
