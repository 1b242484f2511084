"""Looks from the worker's main process at what its pool's children use, job by job: a thread that needs no database.

What runs where it reads from the scoreboard, where each child finds at the end what was seen of it. A job that ends
sooner than the next look costs nothing. Nothing is stopped here: the guard asks for the latest `Reading` of an attempt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import psutil

from jobs.core.conf import settings
from jobs.execution.resources import meter, tmpdirs
from jobs.execution.resources.scoreboard import RunningAttempt, Sample, Scoreboard
from jobs.worker.process_usage import Tree, look_at

logger = logging.getLogger(__name__)

KEPT = 60.0  # seconds that a reading outlives its attempt: the end of one whose process died is recorded with it
DISK_SHARE = 0.05  # of the time, at most, goes into adding up the files of one directory


@dataclass(frozen=True)
class Reading:
    """What was seen of one attempt at the moment `at`, by the monotonic clock.

    `memory_kb` is the lesser of the last two looks: a single one may have met what has passed already. `columns` are
    the attempt's figures until now.
    """

    at: float
    memory_kb: int
    disk_kb: int
    columns: meter.Columns


def begin(board: Scoreboard) -> None:
    """Look at what the children on this board use, from now on."""
    _running.sampler = Sampler(board)
    _running.sampler.start()


def end() -> None:
    """The worker has ended."""
    if _running.sampler is not None:
        _running.sampler.stop()
    _running.sampler = None


def reading(attempt_id: UUID) -> Reading | None:
    """The latest of an attempt; None where it was not looked at, or is long over."""
    return None if _running.sampler is None else _running.sampler.readings.get(attempt_id)


def is_running(attempt_id: UUID, pid: int) -> bool:
    """Whether a child says on the scoreboard that it runs an attempt at this moment."""
    entries = () if _running.sampler is None else _running.sampler.board.running()
    return any((entry.attempt_id, entry.pid) == (attempt_id, pid) for _, entry in entries)


class Sampler:
    """The thread, and what it has seen."""

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self._watched: dict[tuple[int, int], _Watched] = {}
        self.readings: dict[UUID, Reading] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-sampler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """The worker has ended."""
        self._ending.set()
        self._thread.join(5)

    def look(self) -> None:
        """Look at every attempt that has lasted long enough, and clean up behind those whose process has died."""
        now = time.monotonic()
        running = dict(self._lasting())
        self._watched = {place: self._watched.get(place) or _Watched(entry) for place, entry in running.items()}
        readings = {attempt_id: one for attempt_id, one in self.readings.items() if now - one.at < KEPT}
        for (slot, turn), watched in self._watched.items():
            reading = watched.look(now)
            if reading is not None:
                readings[watched.entry.attempt_id] = reading
                self.board.note(slot, turn, watched.most)
        self.readings = readings  # as a whole: another thread reads it
        tmpdirs.sweep()

    def _lasting(self) -> Iterator[tuple[tuple[int, int], RunningAttempt]]:
        """What has run for a while: of all that ends sooner its own process tells, and it costs nothing here."""
        since = time.monotonic() - settings.SAMPLE_EVERY
        for slot, entry in self.board.running():
            if entry.began <= since:
                yield (slot, entry.turn), entry

    def _run(self) -> None:
        while not self._ending.wait(settings.SAMPLE_EVERY):
            try:
                self.look()
            except Exception:
                logger.exception("sampler: went wrong, and goes on")


class _Watched:
    """One attempt, and the most that was seen of it."""

    def __init__(self, entry: RunningAttempt) -> None:
        self.entry = entry
        self.most = Sample()
        self._process: psutil.Process | None = None
        self._memory_kb = self._disk_kb = 0
        self._disk_due = 0.0

    def look(self, now: float) -> Reading | None:
        """What it uses now; None when its process has died."""
        tree = self._tree()
        if tree is None:
            return None
        before, self._memory_kb = self._memory_kb, max(0, tree.memory_kb - self.entry.memory_kb)
        if now >= self._disk_due:
            self._add_up_files(now)
        cpu = max(0.0, tree.cpu_seconds - self.entry.cpu_seconds)
        seen = Sample(self._memory_kb, cpu, self._disk_kb, tree.processes)
        self.most = Sample._make(map(max, self.most, seen))
        figures = meter.columns(now - self.entry.began, cpu, self.most.memory_kb, self.most.disk_kb or None)
        return Reading(now, min(before, self._memory_kb), self._disk_kb, {**figures, **meter.metrics(self.most)})

    def _tree(self) -> Tree | None:
        """Of the process that the attempt began in, not of another that has its number by now."""
        try:
            if self._process is None:
                self._process = psutil.Process(self.entry.pid)
            return look_at(self._process) if self._process.is_running() else None
        except psutil.NoSuchProcess:
            return None

    def _add_up_files(self, now: float) -> None:
        """As rarely as a large directory takes long: the disks are there for others, too."""
        begun = time.monotonic()
        self._disk_kb = tmpdirs.size(tmpdirs.path_of(self.entry.attempt_id)) // 1024
        self._disk_due = now + (time.monotonic() - begun) / DISK_SHARE


class _Running:
    sampler: Sampler | None = None


_running = _Running()
