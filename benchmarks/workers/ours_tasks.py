"""The bodies as jobs of this platform."""

import time

from benchmarks import bodies
from jobs import JobTask, job
from jobs.exceptions import JobAborted

noop = job(bodies.noop)
hold = job(bodies.hold)


@job(max_concurrent=1000, partition_by="customer", memory_mb=1)
def for_customer(customer: str) -> None:
    """The same for somebody, limited by whom it is for and by the memory it takes."""
    bodies.noop()


@job(bind=True)
def obey(self: JobTask) -> None:
    """Look all the while whether to stop, and leave the time when it was told so."""
    try:
        while True:
            self.job.check()
            time.sleep(0.02)
    except JobAborted:
        bodies.noop()
        raise
