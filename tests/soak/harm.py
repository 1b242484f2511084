"""Does the harm that `plan.faults` drew, each in a thread of its own: several things may be broken at once.

What is broken already is not broken once more: that fault then counts as missed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from jobs.admission import publishing
from jobs.models import Attempt, Job
from tests.services import PrivatePostgres, PrivateValkey, Worker
from tests.services.processes import kill
from tests.soak.fleet import Say
from tests.soak.plan import Fault

REPEATED = 20  # doorbells


@dataclass
class Site:
    """What can be harmed, and what has been done to it so far, by kind."""

    workers: Sequence[Worker]
    broker: PrivateValkey
    server: PrivatePostgres
    say: Say
    done: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    broken: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


def inflict(site: Site, faults: Iterable[Fault], over: threading.Event) -> None:
    """Each fault at its moment from now on; returns when the last one is over, or soon after `over` is set."""
    begin = time.monotonic()
    under_way: list[Future[None]] = []
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="harm") as pool:
        for fault in faults:
            if over.wait(max(0.0, begin + fault.at - time.monotonic())):
                break
            under_way.append(pool.submit(_one, site, fault))
    for one in under_way:
        one.result()


def _one(site: Site, fault: Fault) -> None:
    whom = _whom(site, fault)
    with site.lock:
        is_broken = whom in site.broken
        site.broken.add(whom)
    if is_broken:
        site.missed += 1
        return
    site.say(f"{fault.at:7.1f} s  {fault.kind:<18} {whom}")
    try:
        happened = ACTS[fault.kind](site, fault)
    finally:
        site.broken.discard(whom)
    site.done[fault.kind] += happened
    site.missed += not happened


def _whom(site: Site, fault: Fault) -> str:
    what = fault.kind.partition(" ")[0]
    if what in ("broker", "database"):
        return what
    return "broker" if what == "doorbells" else _worker(site, fault).log.stem


def _worker(site: Site, fault: Fault) -> Worker:
    return site.workers[int(fault.victim * len(site.workers))]


def _kill_child(site: Site, fault: Fault) -> bool:
    """One that runs a job, where the database can tell of any."""
    worker = _worker(site, fault)
    children = worker.children()
    busy = [pid for pid in _busy() if pid in children] or children
    return bool(busy) and kill(busy[int(fault.victim * 997) % len(busy)])


def _busy() -> list[int | None]:
    try:
        running = Attempt.objects.filter(finished_at__isnull=True)
        return list(running.order_by("started_at").values_list("pid", flat=True))
    except (DatabaseError, InterfaceError):
        return []
    finally:
        connections.close_all()


def _kill_feeder(site: Site, fault: Fault) -> bool:
    feeder = _worker(site, fault).feeder()
    return feeder is not None and kill(feeder)


def _kill_worker(site: Site, fault: Fault) -> bool:
    worker = _worker(site, fault)
    if worker.ended():
        return False
    worker.kill()
    return True


def _freeze(site: Site, fault: Fault) -> bool:
    """For longer than STALE_AFTER: it is given up meanwhile, and comes back."""
    worker = _worker(site, fault)
    if worker.ended():
        return False
    with suppress(ProcessLookupError):  # a child may end while all are being stopped
        worker.freeze()
    time.sleep(fault.lasting)
    with suppress(ProcessLookupError):
        worker.thaw()
    return True


def _flush(site: Site, _: Fault) -> bool:
    site.broker.flush()
    return True


def _restart_broker(site: Site, fault: Fault) -> bool:
    site.broker.kill()
    time.sleep(fault.lasting)
    site.broker.start()
    return True


def _restart_database(site: Site, fault: Fault) -> bool:
    """A crash, and the recovery after it."""
    site.server.stop("immediate")
    time.sleep(fault.lasting)
    site.server.start()
    return True


def _repeat_doorbells(site: Site, _: Fault) -> bool:
    """Ring again for what is queued or runs, and for attempts that have ended, as a broker may that delivers twice."""
    try:
        messages = _bells()
        with Connection(site.broker.url) as connection:
            producer = Producer(connection.channel())
            for pool, task, job_id, attempt_id in messages:
                name, pairs = str(attempt_id), [[str(job_id), str(attempt_id)]]
                headers = {"lang": "py", "task": task, "id": name, "root_id": name, publishing.JOBS_HEADER: pairs}
                producer.publish([[], {}, {}], routing_key=pool, serializer="json", headers=headers)
    except (DatabaseError, InterfaceError, OperationalError):
        return False
    finally:
        connections.close_all()
    return bool(messages)


def _bells() -> list[tuple[Any, ...]]:
    flying = Job.objects.filter(state__in=["queued", "running"]).values_list("pool", "task", "id", "attempt_id")
    ended = Attempt.objects.order_by("-started_at").values_list("job__pool", "job__task", "job_id", "id")
    return [*flying[:REPEATED], *ended[:REPEATED]]


ACTS: dict[str, Callable[[Site, Fault], bool]] = {
    "child killed": _kill_child,
    "worker killed": _kill_worker,
    "feeder killed": _kill_feeder,
    "worker frozen": _freeze,
    "broker flushed": _flush,
    "broker restarted": _restart_broker,
    "database restarted": _restart_database,
    "doorbells repeated": _repeat_doorbells,
}
