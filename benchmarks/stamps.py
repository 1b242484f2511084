"""Times left in a file by any process of a trial, one append each; the clock that all systems share.

An append of eight bytes is atomic on a local file and costs less than a microsecond, so the same body can run under
every system. Must not import Django or Celery.
"""

import os
import struct
import time
from pathlib import Path

_STAMP = struct.Struct("d")


class Stamps:
    """An append-only file of wall-clock times in seconds."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def mark(self) -> None:
        """Append the present time."""
        os.write(self._file, _STAMP.pack(time.time()))

    def count(self) -> int:
        """How many times were appended since the last `clear()`."""
        return os.fstat(self._file).st_size // _STAMP.size

    def at(self, index: int) -> float:
        """The time at `index`, counted from 0 in the order of arrival."""
        return float(_STAMP.unpack(os.pread(self._file, _STAMP.size, index * _STAMP.size))[0])

    def latest(self) -> float:
        """The greatest time; two processes may append in the other order than they looked at the clock."""
        return max(self.at(index) for index in range(self.count()))

    def clear(self) -> None:
        """Forget every time. Appenders that have the file open go on at its new end."""
        os.ftruncate(self._file, 0)
