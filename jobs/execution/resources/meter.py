"""What an attempt uses, as the process that runs it can tell within microseconds: CPU seconds and its peak of memory.

A pool child has a seat on the scoreboard: its figures are the process's own since the attempt began, and main, which is
told there what runs, measures the rest from outside. Where attempts share a process (threads, solo, an inline worker)
only a thread's CPU time can be told apart: no memory is charged to anybody there, and nobody is stopped for it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage, struct_rusage
from typing import Any, Final, Protocol
from uuid import UUID

from jobs.execution.resources.scoreboard import Sample, Scoreboard

MB: Final = 2**20  # bytes
_NOISE_KB: Final = 1024  # the kernel counts no more exactly; it spares short jobs the closer look
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
Columns = dict[str, Any]  # of an attempt: cpu_seconds, average_cpu (percent of one core), peak_memory_mb, peak_disk_mb


class Meter(Protocol):
    """Runs since the beginning of an attempt."""

    def stop(self, disk_bytes: int | None) -> Columns:
        """What was used, None where nobody can say. `disk_bytes` is what the attempt's directory took in the end."""


def start(attempt_id: UUID) -> Meter:
    """Begin to measure an attempt."""
    seat = _process.seat
    if seat is not None and not seat.is_taken:  # taken: this one is run inside another, eagerly
        seat.sit(attempt_id)
        return seat
    return _Thread() if _process.tells_threads_apart else _Nothing()


def take_seat(board: Scoreboard, slot: int) -> None:
    """This process is the pool child of that slot: it runs one attempt at a time, and nothing else."""
    _process.seat = _Seat(board, slot)


def no_figures() -> None:
    """Attempts share even threads here (gevent, eventlet): what one used is nobody's."""
    _process.tells_threads_apart = False


def columns(seconds: float, cpu: float, memory_kb: float | None, disk_kb: float | None) -> Columns:
    """Figures as the attempt's columns hold them."""
    return {
        "cpu_seconds": round(cpu, 4),
        "average_cpu": round(100 * cpu / seconds, 1) if seconds > 0 else None,
        "peak_memory_mb": None if memory_kb is None else round(memory_kb / 1024, 2),
        "peak_disk_mb": None if disk_kb is None else round(disk_kb / 1024, 2),
    }


def metrics(seen: Sample) -> Columns:
    """What has no column of its own, where there is anything to say."""
    return {"metrics": {"child_processes": seen.processes}} if seen.processes else {}


class _Seat:
    """A pool child's slot. The files in which the kernel tells of its memory stay open: to open one costs 10 µs."""

    def __init__(self, board: Scoreboard, slot: int) -> None:
        self._board, self._slot, self._pid = board, slot, os.getpid()
        self._turn = board.last_turn(slot)
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._watermark = _opened("/proc/self/clear_refs", os.O_WRONLY)
        self._inode = self._watermark and os.fstat(self._watermark).st_ino
        self.is_taken = False
        board.end(slot, self._turn, self._pid)

    def sit(self, attempt_id: UUID) -> None:
        """An attempt begins, and has the process to itself."""
        self.is_taken = True
        self._turn += 1
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        self._resident, self._files = self._memory()
        self._has_peak = own.ru_maxrss - self._resident < _NOISE_KB or self._forget_peak()
        self._cpu, self._began = _seconds(own) + _seconds(children), time.monotonic()
        anonymous = self._resident - self._files
        self._board.begin(self._slot, self._turn, self._pid, attempt_id.bytes, self._began, self._cpu, anonymous)

    def stop(self, disk_bytes: int | None) -> Columns:
        """The attempt has ended: what the kernel says of the process, or main has seen of it and its descendants."""
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        seconds, cpu = time.monotonic() - self._began, _seconds(own) + _seconds(children) - self._cpu
        memory = self._grown(own.ru_maxrss if self._has_peak else 0)
        disk = None if disk_bytes is None else disk_bytes / 1024
        seen = self._board.sampled(self._slot, self._turn)
        self._board.end(self._slot, self._turn, self._pid)
        self.is_taken = False
        if seen is not None:
            cpu, memory = max(cpu, seen.cpu_seconds), max(memory, seen.memory_kb)
            disk = max(disk or 0, seen.disk_kb) or disk
        return {**columns(seconds, cpu, memory if self._resident else None, disk), **(metrics(seen) if seen else {})}

    def _grown(self, peak: int) -> int:
        """Kilobytes by which the memory grew at its peak. Files that are mapped do not count: they can be dropped."""
        all_of_it = peak - self._resident
        if peak and all_of_it < _NOISE_KB:
            return max(0, all_of_it)
        resident, files = self._memory()
        return max(0, all_of_it - max(0, files - self._files), resident - files - self._resident + self._files)

    def _memory(self) -> tuple[int, int]:
        """Kilobytes that are resident, and those of them that are files; nothing where the system does not say."""
        if self._statm is None:
            return 0, 0
        try:
            words = os.pread(self._statm, 100, 0).split(None, 3)
            return int(words[1]) * _PAGE_KB, int(words[2]) * _PAGE_KB
        except (OSError, ValueError, IndexError):  # a body may have closed what it did not open
            return 0, 0

    def _forget_peak(self) -> bool:
        """Have the kernel watch for a new peak from now on; False where it cannot be told."""
        if self._watermark is None:
            return False
        with suppress(OSError):
            if os.fstat(self._watermark).st_ino == self._inode:  # else it is another's file by now
                return os.pwrite(self._watermark, b"5", 0) == 1
        return False


class _Thread:
    """One attempt of several in a process: the CPU time of its thread, and its directory."""

    def __init__(self) -> None:
        self._cpu, self._began = time.thread_time(), time.monotonic()

    def stop(self, disk_bytes: int | None) -> Columns:
        """What this thread used."""
        cpu, disk = time.thread_time() - self._cpu, None if disk_bytes is None else disk_bytes / 1024
        return columns(time.monotonic() - self._began, cpu, None, disk)


class _Nothing:
    """Nothing can be told apart but the directory."""

    def stop(self, disk_bytes: int | None) -> Columns:
        """The directory."""
        return {"peak_disk_mb": None if disk_bytes is None else round(disk_bytes / MB, 2)}


class _Process:
    seat: _Seat | None = None
    tells_threads_apart = True


def _stand_up() -> None:
    """A process that the body forks is not the pool child."""
    _process.seat = None


_process = _Process()
os.register_at_fork(after_in_child=_stand_up)


def _seconds(usage: struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _opened(path: str, flags: int) -> int | None:
    with suppress(OSError):
        return os.open(path, flags)
    return None
