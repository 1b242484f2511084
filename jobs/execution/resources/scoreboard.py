"""A piece of memory that a worker's main process shares with its pool children: which attempt each of them runs.

A child writes its own slot when an attempt begins and ends, main writes beside it what it has sampled. Nobody waits:
not for a lock, not for a database. What is read here may be a moment old, so whoever stops a process on the strength of
it looks at the job's row first. Every job writes here, so in few words.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

SLOTS: Final = 1024  # pool processes; those beyond are not measured
_SIZE = 128  # bytes of a slot
_ENTRY = struct.Struct("=Qi16sddqQ")
_SAMPLE = struct.Struct("=Qqdqq")
_TURN_AND_PID = struct.Struct("=Qi")
_NOBODY = bytes(16)


class RunningAttempt(NamedTuple):
    """An attempt in a child. `turn` grows with each of them, so it tells one from the next in the same process.

    `began` is by the monotonic clock, which all processes of a host share; `cpu_seconds` and `memory_kb` are what the
    process had at that moment.
    """

    turn: int
    pid: int
    attempt_id: UUID
    began: float
    cpu_seconds: float
    memory_kb: int


class Sample(NamedTuple):
    """What main has seen of an attempt, descendants and all: the most of each; CPU seconds are since it began."""

    memory_kb: int = 0
    cpu_seconds: float = 0.0
    disk_kb: int = 0
    processes: int = 0


class Scoreboard:
    """Made by main before it forks its pool; what a child inherits is the same memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _SIZE)

    def last_turn(self, slot: int) -> int:
        """Where the turns of a slot stand: whoever takes it over goes on from there."""
        return int(_TURN_AND_PID.unpack_from(self._memory, slot * _SIZE)[0])

    def begin(self, slot: int, turn: int, pid: int, attempt: bytes, began: float, cpu: float, memory_kb: int) -> None:
        """The child of that slot says what it runs; see `RunningAttempt`."""
        _ENTRY.pack_into(self._memory, slot * _SIZE, turn, pid, attempt, began, cpu, memory_kb, turn)

    def end(self, slot: int, turn: int, pid: int) -> None:
        """It runs nothing; its place is taken all the same."""
        _ENTRY.pack_into(self._memory, slot * _SIZE, turn, pid, _NOBODY, 0.0, 0.0, 0, turn)

    def running(self) -> Iterator[tuple[int, RunningAttempt]]:
        """Slot and entry of every child that runs an attempt. Slots are taken from the first on, without gaps."""
        for slot in range(SLOTS):
            turn, pid, attempt, *figures, again = _ENTRY.unpack_from(self._memory, slot * _SIZE)
            if not pid:
                return
            if attempt != _NOBODY and turn == again:  # else nobody, or one that is just being written
                yield slot, RunningAttempt(turn, pid, UUID(bytes=attempt), *figures)

    def note(self, slot: int, turn: int, sample: Sample) -> None:
        """Main says what it has seen of that turn."""
        _SAMPLE.pack_into(self._memory, slot * _SIZE + _ENTRY.size, turn, *sample)

    def sampled(self, slot: int, turn: int) -> Sample | None:
        """What main has seen of that turn; None when it did not look while it was on."""
        seen = _SAMPLE.unpack_from(self._memory, slot * _SIZE + _ENTRY.size)
        return Sample(*seen[1:]) if seen[0] == turn else None
