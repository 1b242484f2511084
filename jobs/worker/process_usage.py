"""What a process and its descendants use, as the kernel reports it. A process that ends in between uses nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_OWN = re.compile(rb"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, OSError)


class Tree(NamedTuple):
    """A process with its descendants: their CPU seconds since each of them began, and how many descendants there are.

    `memory_kb` is what the process holds in memory of its own or shared with others, files aside; and what its
    descendants hold alone: what they share with it since a fork counts once.
    """

    memory_kb: int
    cpu_seconds: float
    processes: int


def look_at(process: psutil.Process) -> Tree | None:
    """What it uses now; None when it has ended."""
    try:
        memory, cpu, number = _own_kb(process.pid), _cpu_seconds(process), 0
    except _GONE:
        return None
    if memory is None:
        return None
    for below in descendants(process.pid):
        with suppress(*_GONE):
            memory += below.memory_full_info().uss // 1024
            cpu += _cpu_seconds(below)
            number += 1
    return Tree(memory, cpu, number)


def descendants(pid: int) -> Iterator[psutil.Process]:
    """Its children, theirs, and so on."""
    with suppress(*_GONE):
        for child in _children(pid):
            with suppress(*_GONE):
                yield psutil.Process(child)
            yield from descendants(child)


def _own_kb(pid: int) -> int | None:
    """None of a process that is dead and not yet buried: it has no memory any more. 0 where the system does not say."""
    if not sys.platform.startswith("linux"):
        return 0
    found = _OWN.findall(Path(f"/proc/{pid}/status").read_bytes())
    return sum(map(int, found)) if found else None


def _cpu_seconds(process: psutil.Process) -> float:
    """With those of its children that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _children(pid: int) -> list[int]:
    """From the process's own list: to ask psutil is to read every process of the host."""
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        return [child.pid for child in psutil.Process(pid).children()]
    return [int(child) for thread in Path(f"/proc/{pid}/task").iterdir() for child in _words(thread / "children")]


def _words(path: Path) -> list[bytes]:
    with suppress(OSError):
        return path.read_bytes().split()
    return []
