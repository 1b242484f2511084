"""Memory that a worker's main process shares with its pool children: which attempt each child runs.

A child writes its slot when an attempt begins and ends; the main process writes its samples beside it. There is no lock
and no database. What is read here may be out of date, so the guard reads the job's row before it kills a process. Every
job writes here: keep it fast.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

SLOTS: Final = 1024  # pool processes; further ones are not measured
_SIZE = 128  # bytes of a slot
_ENTRY = struct.Struct("=Qi16sddqQ")
_SAMPLE = struct.Struct("=Qqdqq")
_TURN_AND_PID = struct.Struct("=Qi")
_NO_ATTEMPT = bytes(16)


class RunningAttempt(NamedTuple):
    """The attempt that a child runs. `turn` counts the attempts of its slot.

    `began` is by the monotonic clock, which all processes of a host share; `cpu_seconds` and `memory_kb` are those of
    the process at that moment.
    """

    turn: int
    pid: int
    attempt_id: UUID
    began: float
    cpu_seconds: float
    memory_kb: int


class Sample(NamedTuple):
    """The peaks that the main process has sampled of an attempt and its descendants; CPU seconds since it began."""

    memory_kb: int = 0
    cpu_seconds: float = 0.0
    disk_kb: int = 0
    processes: int = 0


class Scoreboard:
    """Created by the main process before it forks its pool, so that the children share its memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _SIZE)

    def last_turn(self, slot: int) -> int:
        """The last turn of a slot; its next process counts on from there."""
        return int(_TURN_AND_PID.unpack_from(self._memory, slot * _SIZE)[0])

    def begin(self, slot: int, turn: int, pid: int, attempt: bytes, began: float, cpu: float, memory_kb: int) -> None:
        """Write the attempt that the child of a slot runs; see `RunningAttempt`."""
        _ENTRY.pack_into(self._memory, slot * _SIZE, turn, pid, attempt, began, cpu, memory_kb, turn)

    def end(self, slot: int, turn: int, pid: int) -> None:
        """Write that the child of a slot runs nothing."""
        _ENTRY.pack_into(self._memory, slot * _SIZE, turn, pid, _NO_ATTEMPT, 0.0, 0.0, 0, turn)

    def running(self) -> Iterator[tuple[int, RunningAttempt]]:
        """Slot and attempt of every child that runs one. Slots are in use from the first on, without gaps."""
        for slot in range(SLOTS):
            turn, pid, attempt, *figures, again = _ENTRY.unpack_from(self._memory, slot * _SIZE)
            if not pid:
                return
            if attempt != _NO_ATTEMPT and turn == again:  # else it runs nothing, or is being written
                yield slot, RunningAttempt(turn, pid, UUID(bytes=attempt), *figures)

    def note(self, slot: int, turn: int, sample: Sample) -> None:
        """Write the main process's sample of a turn."""
        _SAMPLE.pack_into(self._memory, slot * _SIZE + _ENTRY.size, turn, *sample)

    def sampled(self, slot: int, turn: int) -> Sample | None:
        """The main process's sample of a turn; None if it took none."""
        turn_and_sample = _SAMPLE.unpack_from(self._memory, slot * _SIZE + _ENTRY.size)
        return Sample(*turn_and_sample[1:]) if turn_and_sample[0] == turn else None
