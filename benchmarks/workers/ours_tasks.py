"""The body as jobs of this platform."""

from benchmarks import bodies
from jobs import job

noop = job(bodies.noop)


@job(max_concurrent=1000, partition_by="customer", memory_mb=1)
def for_customer(customer: str) -> None:
    """The same for somebody, limited by whom it is for and by the memory it takes."""
    bodies.noop()
