"""Directories of attempts: private, deleted at the end of their attempt, and never while one is locked."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.test import override_settings

from jobs import JobTask, job
from jobs.execution.context import JobContext
from jobs.execution.resources import tmpdirs
from tests.services.processes import forked

MB = 2**20


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Iterator[Path]:
    """Where they are in this test."""
    with override_settings(JOBS={"TMPDIR": str(tmp_path / "root")}):
        yield tmp_path / "root"


def test_a_directory_is_private_and_gone_afterwards(root: Path) -> None:
    name = uuid4()
    held = tmpdirs.make(name)
    assert held.path == root / str(name) == tmpdirs.path_of(name)
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o700
    (held.path / "deep" / "er").mkdir(parents=True)
    (held.path / "deep" / "er" / "file").write_text("x")
    tmpdirs.remove(held)
    assert not held.path.exists()
    tmpdirs.remove(held)  # once more does no harm


def test_rights_that_a_body_has_taken_away_do_not_keep_it(root: Path) -> None:
    held = tmpdirs.make(uuid4())
    locked = held.path / "locked"
    (locked / "deeper").mkdir(parents=True)
    (locked / "deeper").chmod(0)
    locked.chmod(0)
    tmpdirs.remove(held)
    assert not held.path.exists()


def test_what_a_link_leads_to_stays(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    held = tmpdirs.make(uuid4())
    (held.path / "link").symlink_to(outside)
    assert tmpdirs.size(held.path) < MB
    tmpdirs.remove(held)
    assert (outside / "file").read_text() == "mine"


def test_the_process_is_taken_out_of_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path.cwd()
    held = tmpdirs.make(uuid4())
    monkeypatch.chdir(held.path)
    tmpdirs.remove(held)
    assert Path.cwd() == before


def test_its_size_is_what_it_takes_on_the_disk(root: Path) -> None:
    held = tmpdirs.make(uuid4())
    assert tmpdirs.size(held.path) == 0
    (held.path / "below").mkdir()
    (held.path / "below" / "file").write_bytes(os.urandom(MB))
    with (held.path / "sparse").open("wb") as file:
        file.truncate(1000 * MB)
    assert MB <= tmpdirs.size(held.path) < 2 * MB
    tmpdirs.remove(held)
    assert tmpdirs.size(held.path) == 0


def test_a_sweep_deletes_only_what_is_not_locked(root: Path) -> None:
    held, left = tmpdirs.make(uuid4()), tmpdirs.make(uuid4())
    os.close(left.lock)  # as the kernel does for a process that is dead
    (root / "somebody's own").mkdir()
    assert tmpdirs.sweep() == 1
    assert sorted(path.name for path in root.iterdir()) == sorted([str(held.path.name), "somebody's own"])
    tmpdirs.remove(held)


def test_one_that_another_process_holds_stays_until_that_is_dead(root: Path) -> None:
    read, write = os.pipe()

    def hold() -> None:
        tmpdirs.make(uuid4())
        os.write(write, b"x")
        time.sleep(60)

    pid = forked(hold)
    os.read(read, 1)
    assert tmpdirs.sweep() == 0
    assert len(list(root.iterdir())) == 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert tmpdirs.sweep() == 1
    assert not list(root.iterdir())


def test_a_sweeper_between_making_and_holding_is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It found the directory without its lock, took it for left behind, and deleted it."""
    lock = fcntl.flock
    swept: list[bool] = []

    def late(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_SH and not swept:
            swept.append(True)
            swept.append(tmpdirs.sweep() == 1)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    held = tmpdirs.make(uuid4())
    assert swept == [True, True]
    assert held.path.is_dir()
    assert tmpdirs.sweep() == 0
    tmpdirs.remove(held)


def test_a_process_that_the_body_forks_takes_nothing_away(root: Path) -> None:
    held = tmpdirs.make(uuid4())
    os.waitpid(forked(lambda: tmpdirs.remove(held)), 0)
    assert held.path.is_dir()
    tmpdirs.remove(held)


def test_nothing_to_sweep_without_a_root(root: Path) -> None:
    assert tmpdirs.sweep() == 0


def test_a_root_that_is_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the system's directory anybody may have made it before."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with override_settings(JOBS={}):
        tmpdirs.root().mkdir(mode=0o777)
        tmpdirs.root().chmod(0o777)
        with pytest.raises(PermissionError, match="JOBS\\['TMPDIR'\\]"):
            tmpdirs.make(uuid4())
        tmpdirs.root().rmdir()
        tmpdirs.remove(tmpdirs.make(uuid4()))


@job(bind=True, name="tmpdirs.direct")
def direct(self: JobTask) -> tuple[Path, bool]:
    (self.job.tmpdir / "file").write_text("x")
    return self.job.tmpdir, self.job.tmpdir.is_dir()


def test_a_direct_call_has_one_too_for_its_time() -> None:
    place, was_there = direct()
    assert was_there
    assert not place.exists()


def test_a_stand_in_keeps_it_as_long_as_it_lives() -> None:
    stand_in = JobContext()
    place = stand_in.tmpdir
    assert place.is_dir()
    assert stand_in.tmpdir == place
    del stand_in
    assert not place.exists()
