"""Temporary directories of attempts: one each, made at its first use, gone at its end whatever that was.

Whoever works in a directory holds a lock on it, which the kernel takes away when the last process of it has died. So a
directory without its lock is nobody's, and may be swept by any worker of this host; no database is asked, and platforms
that share a root cannot take each other's. A process is killed without a word; a directory is left behind then.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from jobs.core.conf import settings

logger = logging.getLogger(__name__)

_BLOCK = 512  # bytes, what `st_blocks` counts in on every system


@dataclass(frozen=True)
class TempDir:
    """A directory in use: `lock` is the descriptor whose lock says so, `cwd` where the process stood before."""

    path: Path
    lock: int
    owner: int
    cwd: str | None


def root() -> Path:
    """Where all of them are: the setting's, or one of this user's own under the system's temporary directory."""
    return Path(settings.TMPDIR or Path(tempfile.gettempdir()) / f"jobs-{os.getuid()}")


def path_of(name: UUID) -> Path:
    """Where the directory of an attempt is, if it has made one."""
    return root() / str(name)


def make(name: UUID) -> TempDir:
    """Make a directory and hold it. PermissionError where the root belongs to somebody else."""
    _make_root()
    path = path_of(name)
    while True:
        path.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # a sweeper was quicker
            lock = _open(path)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_at(path, lock):
                return TempDir(path, lock, os.getpid(), _cwd())
            os.close(lock)  # it had the lock meanwhile, and has deleted what was opened


def remove(held: TempDir) -> None:
    """Delete a directory and let go of it; in any process but the one that made it, nothing happens.

    The process is taken out of it first: the next job must not find itself nowhere.
    """
    if os.getpid() != held.owner:
        return
    if held.cwd is not None and _is_inside(held.path):
        with suppress(OSError):
            os.chdir(held.cwd)
    if _is_at(held.path, held.lock):  # else the body has closed what it did not open, and the number is another's
        _delete(held.path)
        os.close(held.lock)


def size(path: Path) -> int:
    """Bytes that a directory takes on its disk; 0 for one that is not there. Files may come and go meanwhile."""
    total = 0
    waiting = [str(path)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total


def sweep() -> int:
    """Delete the directories that nobody holds any more; returns how many."""
    with suppress(FileNotFoundError):
        return sum(_sweep(path) for path in root().iterdir() if _is_ours(path.name))
    return 0


def _make_root() -> None:
    """What lies in a place where everybody may write is believed only when it is this user's own."""
    place = root()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = place.lstat()
    if settings.TMPDIR is None and (found.st_uid != os.getuid() or not _is_private(found.st_mode)):
        raise PermissionError(f"{place} is not a private directory of this user: set JOBS['TMPDIR'] to one that is")


def _is_private(mode: int) -> bool:
    return (mode & 0o170000) == 0o040000 and not mode & 0o022


def _is_ours(name: str) -> bool:
    with suppress(ValueError):
        return str(UUID(name)) == name
    return False


def _sweep(path: Path) -> bool:
    try:
        lock = _open(path)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(path, lock):
            return False
        logger.info("sweeping %s: the attempt that made it is over", path)
        _delete(path)
    except OSError:  # held: its attempt is alive
        return False
    finally:
        os.close(lock)
    return not path.exists()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the directory that was opened is still the one at that path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _delete(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for place in _directories(path):  # a body may have taken the rights away from itself
        with suppress(OSError):
            place.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("%s could not be deleted", path)


def _directories(path: Path) -> Iterator[Path]:
    """A directory and those below it; each is handed out before it is opened."""
    yield path
    with suppress(OSError):
        for below in path.iterdir():
            if below.is_dir() and not below.is_symlink():
                yield from _directories(below)


def _is_inside(path: Path) -> bool:
    here = _cwd()
    return here is None or Path(here).is_relative_to(path.resolve())


def _cwd() -> str | None:
    """Where the process stands; None where somebody has deleted that."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None
