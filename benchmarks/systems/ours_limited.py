"""This platform once more, under limits that are there and never bind: what it costs to be able to limit."""

from collections.abc import Mapping

from benchmarks.systems.base import Room
from benchmarks.systems.ours import PLENTY, Ours
from benchmarks.workers import ours_tasks
from jobs import job_manager
from jobs.models import Pool

CUSTOMERS = 100


class OursLimited(Ours):
    """The pool has a maximum and budgets; the jobs need memory, and each customer has a limit."""

    def prepare(self) -> None:
        """As ever, and the pool gets its limits."""
        super().prepare()
        limits = dict.fromkeys(("max_concurrent", "max_memory_mb", "max_cpu_weight", "max_disk_mb"), PLENTY)
        Pool.objects.update_or_create(name=self.pool, defaults=limits)

    def submit(self) -> None:
        """Insert one job of one customer."""
        job_manager.submit(ours_tasks.for_customer, [], _customer(0))

    def enqueue(self, jobs: int) -> None:
        """Insert all of them in one call, customer after customer."""
        job_manager.submit_many(ours_tasks.for_customer, [((), _customer(number)) for number in range(jobs)])

    def rooms(self) -> Mapping[str, Room]:
        """None: what limits cost a submitter is not what this variant is for."""
        return {}


def _customer(number: int) -> dict[str, str]:
    return {"customer": f"customer-{number % CUSTOMERS}"}
