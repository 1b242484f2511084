"""Measures an attempt from inside its process, in microseconds: CPU seconds and peak memory.

A pool child has a slot of the scoreboard: the usage is that of the process since the attempt began, and the main
process samples the descendants from outside. Where attempts share a process (threads, solo, an inline worker) only the
CPU time of a thread is measured; no attempt is charged for memory, and none is killed for it.
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
_NOISE_KB: Final = 1024  # the kernel counts no more exactly; less spares short jobs a closer look
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
Columns = dict[str, Any]  # of an attempt: cpu_seconds, average_cpu (percent of one core), peak_memory_mb, peak_disk_mb


class Meter(Protocol):
    """A measurement since the beginning of an attempt."""

    def stop(self, disk_bytes: int | None) -> Columns:
        """What was used; None for what is unknown. `disk_bytes` is the size of the attempt's directory at its end."""


def start(attempt_id: UUID) -> Meter:
    """Begin to measure an attempt."""
    slot = _process.slot
    if slot is not None and not slot.is_in_use:  # in use: this attempt runs eagerly inside another
        slot.begin(attempt_id)
        return slot
    return _Thread() if _process.has_thread_per_attempt else _DirectoryOnly()


def use_slot(board: Scoreboard, slot: int) -> None:
    """Measure this process as the pool child of a slot: it runs one attempt at a time, and nothing else."""
    _process.slot = _Slot(board, slot)


def share_threads() -> None:
    """Measure no CPU time: attempts share threads here (gevent, eventlet)."""
    _process.has_thread_per_attempt = False


def columns(seconds: float, cpu: float, memory_kb: float | None, disk_kb: float | None) -> Columns:
    """Usage as columns of the attempt."""
    return {
        "cpu_seconds": round(cpu, 4),
        "average_cpu": round(100 * cpu / seconds, 1) if seconds > 0 else None,
        "peak_memory_mb": None if memory_kb is None else round(memory_kb / 1024, 2),
        "peak_disk_mb": None if disk_kb is None else round(disk_kb / 1024, 2),
    }


def metrics(sample: Sample) -> Columns:
    """The part of a sample that has no column of its own."""
    return {"metrics": {"child_processes": sample.processes}} if sample.processes else {}


class _Slot:
    """The measurement of a pool child. The kernel's files about its memory stay open: opening one costs 10 µs."""

    def __init__(self, board: Scoreboard, slot: int) -> None:
        self._board, self._slot, self._pid = board, slot, os.getpid()
        self._turn = board.last_turn(slot)
        self._statm = _opened("/proc/self/statm", os.O_RDONLY)
        self._watermark = _opened("/proc/self/clear_refs", os.O_WRONLY)
        self._inode = self._watermark and os.fstat(self._watermark).st_ino
        self.is_in_use = False
        board.end(slot, self._turn, self._pid)

    def begin(self, attempt_id: UUID) -> None:
        """Begin to measure an attempt, which has the process to itself."""
        self.is_in_use = True
        self._turn += 1
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        self._resident, self._files = self._memory()
        self._has_peak = own.ru_maxrss - self._resident < _NOISE_KB or self._forget_peak()
        self._cpu, self._began = _seconds(own) + _seconds(children), time.monotonic()
        anonymous = self._resident - self._files
        self._board.begin(self._slot, self._turn, self._pid, attempt_id.bytes, self._began, self._cpu, anonymous)

    def stop(self, disk_bytes: int | None) -> Columns:
        """The larger of the kernel's figures and the main process's samples, which include descendants."""
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        seconds, cpu = time.monotonic() - self._began, _seconds(own) + _seconds(children) - self._cpu
        memory = self._grown(own.ru_maxrss if self._has_peak else 0)
        disk = None if disk_bytes is None else disk_bytes / 1024
        sample = self._board.sampled(self._slot, self._turn)
        self._board.end(self._slot, self._turn, self._pid)
        self.is_in_use = False
        if sample is not None:
            cpu, memory = max(cpu, sample.cpu_seconds), max(memory, sample.memory_kb)
            disk = max(disk or 0, sample.disk_kb) or disk
        return {
            **columns(seconds, cpu, memory if self._resident else None, disk),
            **(metrics(sample) if sample else {}),
        }

    def _grown(self, peak: int) -> int:
        """Kilobytes by which the memory grew at its peak, without mapped files, which the kernel can drop."""
        growth = peak - self._resident
        if peak and growth < _NOISE_KB:
            return max(0, growth)
        resident, files = self._memory()
        return max(0, growth - max(0, files - self._files), resident - files - self._resident + self._files)

    def _memory(self) -> tuple[int, int]:
        """Resident kilobytes, and those of them that are files; zeros where the system does not tell."""
        if self._statm is None:
            return 0, 0
        try:
            words = os.pread(self._statm, 100, 0).split(None, 3)
            return int(words[1]) * _PAGE_KB, int(words[2]) * _PAGE_KB
        except (OSError, ValueError, IndexError):  # a body may have closed our file
            return 0, 0

    def _forget_peak(self) -> bool:
        """Have the kernel restart its peak; False where it cannot."""
        if self._watermark is None:
            return False
        with suppress(OSError):
            if os.fstat(self._watermark).st_ino == self._inode:  # else the descriptor is another file by now
                return os.pwrite(self._watermark, b"5", 0) == 1
        return False


class _Thread:
    """One attempt of several in a process: measures the CPU time of its thread, and its directory."""

    def __init__(self) -> None:
        self._cpu, self._began = time.thread_time(), time.monotonic()

    def stop(self, disk_bytes: int | None) -> Columns:
        """The usage of this thread."""
        cpu, disk = time.thread_time() - self._cpu, None if disk_bytes is None else disk_bytes / 1024
        return columns(time.monotonic() - self._began, cpu, None, disk)


class _DirectoryOnly:
    """One attempt of several in a thread: measures its directory."""

    def stop(self, disk_bytes: int | None) -> Columns:
        """The size of the directory."""
        return {"peak_disk_mb": None if disk_bytes is None else round(disk_bytes / MB, 2)}


class _Process:
    """How attempts are measured in this process."""

    slot: _Slot | None = None
    has_thread_per_attempt = True

    def leave_slot(self) -> None:
        """Stop measuring as a pool child: a process that the body forks is none."""
        self.slot = None


_process = _Process()
os.register_at_fork(after_in_child=_process.leave_slot)


def _seconds(usage: struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _opened(path: str, flags: int) -> int | None:
    with suppress(OSError):
        return os.open(path, flags)
    return None
