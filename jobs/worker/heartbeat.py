"""The worker's heartbeat, in a thread of its main process with a connection of its own.

A database that is away stops neither Celery's loop nor any job: the beat fails, and goes on later. A beat that reaches
the database and changes nothing says that this worker was declared dead: it kills what it runs, and begins a new life.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from celery.worker import state
from django.db import Error, connections

from jobs.client.task import JobTask
from jobs.control import limits
from jobs.core.conf import settings
from jobs.execution import heartbeats
from jobs.execution.fence import Pair
from jobs.execution.heartbeats import Identity
from jobs.execution.rescue import note_unknown, open_attempts, release, rescue
from jobs.execution.termination import end_attempt, note_usage
from jobs.worker import sampler
from jobs.worker.feeder import Feeder
from jobs.worker.fork_safety import Statements
from jobs.worker.guard import descendants, terminations
from jobs.worker.guard.guard import can_stop, children
from jobs.worker.request import News, news, pairs_of

logger = logging.getLogger(__name__)

_GLANCE = 0.5  # seconds between two looks at the pool's children


class Pulse:
    """One worker's heart. Everything that writes for the main process happens in its thread."""

    def __init__(self, controller: Any, feeder: Feeder) -> None:
        self._controller = controller
        self._feeder = feeder
        self._identity: Identity | None = None
        self._suspects: set[Pair] = set()
        self._not_begun: set[Pair] = set()
        self._has_declared = self._draining = self._stopping = False
        self._statements = Statements()
        self._thread = threading.Thread(target=self._run, name="jobs-pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._statements.watch_forks()
        os.register_at_fork(after_in_child=_forget_news)
        self._thread.start()

    def drain(self) -> None:
        """The worker takes no new work; told by the next beat, which comes at once.

        Called in the event loop's own thread, before Celery forgets what it has fetched.
        """
        self._not_begun = (_held(state.reserved_requests) or set()) - (_held(state.active_requests) or set())
        self._draining = True
        news.put(News())

    def stop(self) -> None:
        """The worker has ended: the last word goes out, then the thread ends."""
        self._stopping = True
        news.put(News())
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stopping:
            self._attempt(self._declare)
            self._attempt(self._beat)
            self._attempt(self._report_news)
        if self._identity is not None:
            boot_id = self._identity.boot_id
            self._attempt(lambda: self._leave(boot_id))
            self._attempt(lambda: heartbeats.retire(boot_id))
        connections[settings.DATABASE].close()

    def _attempt(self, act: Any) -> None:
        try:
            act()
        except Error as error:
            logger.warning("pulse: the database does not answer: %s", error)
            connections[settings.DATABASE].close()
        except Exception:
            logger.exception("pulse: went wrong, and goes on")

    def _declare(self) -> None:
        """Called before the first beat: from that on its slots count, and waiting jobs are admitted into them."""
        if not self._has_declared:
            with self._statements.own():
                limits.declare_registered()
            self._has_declared = True

    def _beat(self) -> None:
        with self._statements.own():
            if self._identity is None:
                self._identity = self._register()
            elif not heartbeats.beat(self._identity.boot_id, self._slots()):
                self._die_and_begin_anew()
            elif self._draining:
                self._leave(self._identity.boot_id)
            else:
                self._compare()
        if not self._feeder.is_alive() and not self._stopping:
            logger.error("pulse: the feeder died, starting it again")
            self._feeder.start()

    def _register(self) -> Identity:
        consumer = self._controller.app.amqp.queues.consume_from
        boot_id = JobTask.worker_id or uuid4()
        hostname, is_able = str(self._controller.hostname)[:200], can_stop(self._controller.pool)
        identity = Identity(boot_id, hostname, os.getpid(), tuple(consumer), self._slots(), is_able)
        heartbeats.register(identity)
        self._feeder.ring()
        return identity

    def _slots(self) -> int:
        return int(getattr(self._controller.pool, "num_processes", 0) or self._controller.concurrency or 1)

    def _report_news(self) -> None:
        """Wait for news from the event loop until the next beat is due, and write it down."""
        heard = self._hear()
        while not news.empty():
            heard.append(news.get_nowait())
        lost = [pair for item in heard if item.are_lost for pair in item.pairs]
        unknown = [pair for item in heard if not item.are_lost for pair in item.pairs]
        with self._statements.own():
            if lost:
                self._bury(lost)
            if unknown:
                note_unknown(unknown)

    def _hear(self) -> list[News]:
        beat_at = time.monotonic() + settings.HEARTBEAT
        while (left := beat_at - time.monotonic()) > 0:
            try:
                return [news.get(timeout=min(left, _GLANCE))]
            except queue.Empty:
                self._wake_celery()
        return []

    def _wake_celery(self) -> None:
        """Have Celery bury a dead child now.

        It hears of a death by the end of a pipe, which the kernel closes shortly before the process can be waited for:
        looking that early Celery finds no dead child, and looks again only after five seconds.
        """
        hub = getattr(self._controller, "hub", None)
        if hub is not None and any(map(_is_dead, children(self._controller.pool))):
            hub.call_soon(_bury, self._controller.pool)

    def _leave(self, boot_id: UUID) -> None:
        """Stop taking jobs, and return at once the messages that were not started: Celery does so only at its exit."""
        heartbeats.drain(boot_id)
        if release(sorted(self._not_begun), "its worker is shutting down", str(self._controller.hostname)):
            self._feeder.ring()
        self._not_begun = set()

    def _compare(self) -> None:
        """Rows first, memory second: what stands in the rows twice and never in memory was lost without a word."""
        assert self._identity is not None  # noqa: S101 - called after the registration
        in_rows = open_attempts(self._identity.boot_id)
        in_memory = _held(state.active_requests, state.reserved_requests)
        if in_memory is None:
            return
        # Celery forgets at once what a cold shutdown stops: the guard names that, once its process is dead
        missing = {pair for pair in in_rows - in_memory if terminations.verdict_on(pair[1]) is None}
        certain, self._suspects = missing & self._suspects, missing
        if certain:
            self._rescue(sorted(certain), "its worker no longer knows of it")

    def _bury(self, lost: list[Pair]) -> None:
        """Name how each of the dead came to its end: by the verdict on it, or else it was lost."""
        for pair in lost:
            verdict = terminations.verdict_on(pair[1])
            if verdict is not None:
                end_attempt(pair, verdict, str(self._controller.hostname))
        self._rescue([pair for pair in lost if not terminations.verdict_on(pair[1])], "the process that ran it died")
        for _, attempt_id in lost:
            seen = sampler.reading(attempt_id)
            if seen is not None:
                note_usage(attempt_id, seen.columns)

    def _rescue(self, pairs: list[Pair], why: str) -> None:
        for moved in rescue(pairs, why, str(self._controller.hostname)):
            logger.warning("pulse: job %s: %s", moved.id, why)
        self._feeder.ring()

    def _die_and_begin_anew(self) -> None:
        """This worker was declared dead and its jobs given to others: what still runs here must stop."""
        logger.error("heartbeat: this worker was declared dead; its jobs are stopped, and it registers again")
        JobTask.worker_id = uuid4()
        self._identity = None
        for pid in children(self._controller.pool):
            descendants.remember(pid)
            with suppress(ProcessLookupError):  # Celery has buried it this moment
                os.kill(pid, signal.SIGKILL)
        self._feeder.stop()  # it listens in the name of the old life
        self._feeder.start()
        self._identity = self._register()  # at once: the new children claim in its name


def _held(*collections: Iterable[Any]) -> set[Pair] | None:
    """What the event loop holds at the moment; None when it was changing too fast to be read."""
    for _ in range(5):
        try:
            requests = {request for held in collections for request in held}
        except RuntimeError:  # the event loop has just added one
            continue
        return {pair for request in requests for pair in pairs_of(request)}
    return None


def _is_dead(pid: int) -> bool:
    """Whether a child waits to be buried. It is looked at, not taken: that is Celery's part."""
    if sys.platform != "linux":
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _bury(pool: Any) -> None:
    """In Celery's loop, whose end an exception would be."""
    try:
        pool.maintain_pool()
    except Exception:
        logger.exception("pulse: Celery could not replace a dead child")


def _forget_news() -> None:
    while not news.empty():
        news.get_nowait()
