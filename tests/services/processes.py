"""Processes and ports: what every private server and every worker needs. Must not know what it starts.

Whatever a test run starts carries the variable `MARK` in its environment; that is how all of it is found again, whoever
its parent is by then.
"""

import os
import pwd
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import psutil

MARK = "JOBCENTER_TEST_RUN"
PATIENCE = float(os.environ.get("JOBCENTER_TEST_PATIENCE", "1"))  # by which a machine under load may be slower


class Identity(TypedDict, total=False):
    """The part of `subprocess.run`'s arguments that says as whom."""

    user: int
    group: int
    extra_groups: list[int]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until `condition()` is true; after `seconds` raise `TimeoutError` saying what was waited for."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def forked(act: Callable[[], object]) -> int:
    """Do something in a fork of this process, which then ends by 0; returns its id. It gets no thread of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def free_port() -> int:
    """A port of the loopback address that nobody uses at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def unprivileged() -> Identity:
    """As whom to run a server that refuses to run as root: nobody special where we are not root ourselves."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Give `path` to the unprivileged user, where there is need for one."""
    identity = unprivileged()
    if identity:
        os.chown(path, identity["user"], identity["group"])


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and only not yet buried by its parent does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> bool:
    """`kill -9`; False where the process has ended by itself meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def marked(variable: str, value: str) -> Iterator[psutil.Process]:
    """All processes, but this one, whose environment says `variable=value`."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                yield process
        except psutil.Error:
            continue  # gone, a zombie, or not ours


def kill_marked(variable: str, value: str) -> int:
    """Kill them all, with what they start meanwhile, and wait for their end. Returns how many there were.

    One that is dead and not yet buried has ended: whoever inherited it may take seconds to notice.
    """
    count = 0
    while victims := list(marked(variable, value)):
        for process in victims:
            process.kill()
        count += len(victims)
        wait_until(lambda: not any(alive(process.pid) for process in victims), 5, "the end of killed processes")
    return count
