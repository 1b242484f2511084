"""Temporary directories of attempts: made at the first use, deleted at the end of the attempt.

The processes of an attempt hold a lock on its directory, which the kernel releases when the last of them has died. A
killed attempt leaves its directory behind; a directory without a lock may be deleted by any worker of this host. This
needs no database, and is safe for several platforms with the same root.
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

_BLOCK = 512  # bytes; the unit of `st_blocks` on every system


@dataclass(frozen=True)
class TempDir:
    """A directory in use. `lock` is a descriptor that holds its lock, `cwd` the working directory before."""

    path: Path
    lock: int
    owner: int
    cwd: str | None


def root() -> Path:
    """The parent of all of them: the setting, or a directory of this user in the system's temporary directory."""
    return Path(settings.TMPDIR or Path(tempfile.gettempdir()) / f"jobs-{os.getuid()}")


def path_of(name: UUID) -> Path:
    """The path of an attempt's directory, whether or not it exists."""
    return root() / str(name)


def make(name: UUID) -> TempDir:
    """Make a directory and lock it. PermissionError if the root belongs to another user."""
    _make_root()
    path = path_of(name)
    while True:
        path.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # a sweeper has deleted it
            lock = _open(path)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_at(path, lock):
                return TempDir(path, lock, os.getpid(), _cwd())
            os.close(lock)  # a sweeper had the lock first and has deleted the opened directory


def remove(tmpdir: TempDir) -> None:
    """Delete a directory and release its lock. Does nothing in a process other than the one that made it.

    A process whose working directory is inside goes back to the one before, which the next job needs.
    """
    if os.getpid() != tmpdir.owner:
        return
    if tmpdir.cwd is not None and _is_inside(tmpdir.path):
        with suppress(OSError):
            os.chdir(tmpdir.cwd)
    if _is_at(tmpdir.path, tmpdir.lock):  # else the body closed our descriptor, and its number is in use again
        _delete(tmpdir.path)
        os.close(tmpdir.lock)


def size(path: Path) -> int:
    """Bytes on disk of a directory, 0 if there is none. Files may appear and disappear at the same time."""
    total = 0
    pending = [str(path)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return total


def sweep() -> int:
    """Delete the directories that are not locked; returns how many."""
    with suppress(FileNotFoundError):
        return sum(_sweep(path) for path in root().iterdir() if _is_ours(path.name))
    return 0


def _make_root() -> None:
    """Make the root. In the system's temporary directory, where any user may write, it must be private to this user."""
    path = root()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if settings.TMPDIR is None and (status.st_uid != os.getuid() or not _is_private(status.st_mode)):
        raise PermissionError(f"{path} is not a private directory of this user: set JOBS['TMPDIR'] to one that is")


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
    except OSError:  # locked: its attempt is alive
        return False
    finally:
        os.close(lock)
    return not path.exists()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the opened directory is still the one at the path."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _delete(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    for directory in _directories(path):  # a body may have removed its own permissions
        with suppress(OSError):
            directory.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("%s could not be deleted", path)


def _directories(path: Path) -> Iterator[Path]:
    """A directory and those below it; each is yielded before it is opened."""
    yield path
    with suppress(OSError):
        for below in path.iterdir():
            if below.is_dir() and not below.is_symlink():
                yield from _directories(below)


def _is_inside(path: Path) -> bool:
    here = _cwd()
    return here is None or Path(here).is_relative_to(path.resolve())


def _cwd() -> str | None:
    """The working directory of the process; None if it was deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None
