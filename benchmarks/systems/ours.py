"""This platform, through its public API. The last finish is the greatest `finished_at` in its table."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Max
from django.db.models.functions import Now
from psycopg import sql

from benchmarks.systems.base import Room
from benchmarks.systems.django_site import DjangoSystem
from benchmarks.systems.on_celery import CelerySystem
from benchmarks.worker import celery
from benchmarks.workers import ours, ours_tasks
from jobs import Job, job_manager
from jobs.admission import passes
from jobs.admission.wakeup import channel
from jobs.models import Attempt, JobEvent, Worker

PLENTY = 100_000
FULL = 5  # waiting jobs, more than one seeming slot lets in


class Ours(CelerySystem, DjangoSystem):
    """Every job a row with its events and attempts, admitted under the limits."""

    celery_app = ours.app
    worker_commands = celery("benchmarks.workers.ours")
    submits_many = True

    @property
    def pool(self) -> str:
        """The pool that the jobs of the benchmark go to."""
        return str(self.celery_app.conf.task_default_queue)

    def submit(self) -> None:
        """Insert one job; its admission, where there is room, is part of the call."""
        job_manager.submit(ours_tasks.noop)

    def enqueue(self, jobs: int) -> None:
        """Insert all of them in one call."""
        job_manager.submit_many(ours_tasks.noop, [((), {})] * jobs)

    def rooms(self) -> Mapping[str, Room]:
        """Besides no worker at all: a full pool, room and a feeder that is told, room and nobody else who admits."""
        return {
            **super().rooms(),
            "pool full": self._full,
            "feeder admits": self._others_admit,
            "caller admits": self._caller_admits,
        }

    def finished(self) -> int:
        """Jobs completed."""
        return Job.objects.filter(state="completed").count()

    def last_finish(self) -> float:
        """The database's clock at the statement that finished the job; its commit follows within a millisecond."""
        newest = Job.objects.aggregate(newest=Max("finished_at"))["newest"]
        return float(newest.timestamp())

    def clear(self) -> None:
        """Empty the queue, and the tables of jobs, of their attempts and of their events."""
        super().clear()
        tables = [model._meta.db_table for model in (Job, Attempt, JobEvent)]
        emptied = connection.ops.sql_flush(no_style(), tables, allow_cascade=True)
        connection.ops.execute_sql_flush(emptied)
        Worker.objects.all().delete()

    @contextmanager
    def _full(self) -> Iterator[None]:
        with self._slots(1, listens=True):
            while Job.objects.filter(state="pending").count() < FULL:
                self.submit()
            passes.admit(self.pool)
            yield

    @contextmanager
    def _others_admit(self) -> Iterator[None]:
        with self._slots(PLENTY, listens=True):
            yield

    @contextmanager
    def _caller_admits(self) -> Iterator[None]:
        with self._slots(PLENTY, listens=False):
            yield

    @contextmanager
    def _slots(self, slots: int, *, listens: bool) -> Iterator[None]:
        """A worker that only seems to live: its slots are free, and it takes no CPU from the submitter.

        Where its feeder listens there is a session that does nothing else, for what notifying costs.
        """
        worker = seeming_worker(self.pool, slots, listens=listens)
        if not listens:
            yield
            return
        place = self.place
        with psycopg.connect(
            host=place.postgres_socket, user=place.postgres_user, dbname=place.database, autocommit=True
        ) as feeder:
            feeder.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel(worker.boot_id))))
            yield


def seeming_worker(pool: str, slots: int, *, listens: bool) -> Worker:
    """Write the row of a worker that seems to live for an hour, however long the measurement takes."""
    worker = Worker(
        boot_id=uuid4(), hostname="bench", pid=0, pools=[pool], slots=slots, started_at=Now(), listens=listens
    )
    worker.beat_at = Now() + timedelta(hours=1)
    worker.save()
    return worker


class OursAhead(Ours):
    """The same where workers are told to hold more jobs each, as is advised for very short ones: the drain only."""

    def rooms(self) -> Mapping[str, Room]:
        """None: how far workers look ahead makes no difference to a submitter."""
        return {}
