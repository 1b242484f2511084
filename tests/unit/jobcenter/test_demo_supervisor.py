"""The demo's supervisor with small programs in place of real ones: what it starts never outlives it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobcenter.demo import supervisor as module
from jobcenter.demo.supervisor import ChildDied, Stopped, Supervisor, TookTooLong
from tests.services.processes import alive, wait_until

pytestmark = pytest.mark.unit
SLEEPER = ["/bin/sleep", "60"]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"]
TALKER = ["/bin/sh", "-c", "echo one; echo two >&2; exit 3"]
FAMILY = ["/bin/sh", "-c", "sleep 60 & echo $!; wait"]
KILLED = f"""
from pathlib import Path
from jobcenter.demo.supervisor import Supervisor
with Supervisor(Path({{directory!r}}), {{{{}}}}) as supervisor:
    print(supervisor.start({{{{"sleeper": {SLEEPER!r}}}}})[0].pid, flush=True)
    supervisor.wait_until(lambda: False, 60, "the end")
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "private"


@pytest.fixture
def supervise(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Supervisor]:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    return lambda: Supervisor(directory, {**os.environ, "PYTHONUNBUFFERED": "1"})


def test_the_directory_is_private_and_goes_with_the_children(
    supervise: Callable[[], Supervisor], directory: Path
) -> None:
    with supervise() as supervisor:
        assert directory.stat().st_mode & 0o777 == 0o700
        pids = [child.pid for child in supervisor.start({"one": SLEEPER, "two": SLEEPER})]
        assert all(map(alive, pids))
        assert {os.getpgid(pid) for pid in pids} == set(pids), "each has a process group of its own"
    assert not any(map(alive, pids))
    assert not directory.exists()


def test_a_directory_that_is_there_already_is_left_alone(supervise: Callable[[], Supervisor], directory: Path) -> None:
    directory.mkdir()
    with pytest.raises(FileExistsError), supervise():
        pass
    assert directory.exists()


def test_the_last_started_are_ended_first(supervise: Callable[[], Supervisor], directory: Path) -> None:
    note = "trap 'echo $0 >> ../order; exit' TERM; echo up; while :; do sleep 0.02; done"
    with supervise() as supervisor:
        for name in ("first", "second"):
            (child,) = supervisor.start({name: ["/bin/sh", "-c", note, name]})
            wait_until(child.log.read_text, 5, "the program's first word")
    assert (directory.parent / "order").read_text().split() == ["second", "first"]


def test_who_does_not_obey_is_killed(supervise: Callable[[], Supervisor]) -> None:
    with supervise() as supervisor:
        (child,) = supervisor.start({"stubborn": STUBBORN})
        wait_until(child.log.read_text, 10, "the signal is ignored by now")
    assert not alive(child.pid)


def test_grandchildren_go_as_well(supervise: Callable[[], Supervisor]) -> None:
    with supervise() as supervisor:
        (child,) = supervisor.start({"family": FAMILY})
        wait_until(child.log.read_text, 5, "the grandchild runs")
        grandchild = psutil.Process(int(child.log.read_text()))
    wait_until(lambda: not alive(grandchild.pid), 5, "the grandchild is gone")


def test_a_child_that_dies_is_named_with_its_last_words(supervise: Callable[[], Supervisor]) -> None:
    with supervise() as supervisor:
        supervisor.start({"sleeper": SLEEPER})
        supervisor.start({"talker": TALKER})
        with pytest.raises(ChildDied) as died:
            supervisor.wait_until(lambda: False, 10, "never")
    said = str(died.value)
    assert said.startswith("talker (process ")
    assert "ended unexpectedly with exit code 3" in said
    assert said.endswith("    one\n    two")


def test_a_child_that_is_killed_is_said_to_be(supervise: Callable[[], Supervisor]) -> None:
    with supervise() as supervisor:
        (child,) = supervisor.start({"sleeper": SLEEPER})
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ChildDied, match=r"was killed by SIGKILL.*\n    \(nothing\)"):
            supervisor.wait_until(lambda: False, 10, "never")


def test_a_signal_stops_every_wait_and_is_handled_as_before_afterwards(supervise: Callable[[], Supervisor]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with supervise() as supervisor:
        (child,) = supervisor.start({"sleeper": SLEEPER})
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as stopped:
            supervisor.wait_until(lambda: False, 10, "never")
    assert stopped.value.signal is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    assert not alive(child.pid)


def test_waiting_has_an_end(supervise: Callable[[], Supervisor]) -> None:
    with supervise() as supervisor, pytest.raises(TookTooLong, match="the moon is blue: not within 0 s"):
        supervisor.wait_until(lambda: False, 0, "the moon is blue")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_a_killed_supervisor_takes_everything_along(directory: Path) -> None:
    words = [sys.executable, "-c", KILLED.format(directory=str(directory))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        pid = int(started.stdout.readline())
        assert alive(pid)
        started.kill()
    wait_until(lambda: not alive(pid), 5, "the child is gone")
    wait_until(lambda: not directory.exists(), 5, "the directory is gone")
