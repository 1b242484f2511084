"""The ground the other tests stand on: a real worker on this stack runs what was sent, and dies when told to."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.app import ledger
from tests.app.tasks import echo, linger
from tests.services import Stack, Worker
from tests.services.processes import alive, wait_until

StartWorker = Callable[..., Worker]
fresh_and_forked = pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "forked"])


@fresh_and_forked
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_runs_what_was_sent(pool: str, fresh: bool, start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker(pool=pool, fresh=fresh)
    assert len(worker.children()) == (2 if pool == "prefork" else 0)
    assert worker.feeder() not in (None, *worker.children())
    for number in range(5):
        echo.delay(str(number))
    wait_until(lambda: len(ledger.read(ledger_file)) == 5, 15, "five echoes")
    assert {line["text"] for line in ledger.read(ledger_file)} == set("01234")
    assert worker.stop() == 0


@fresh_and_forked
def test_a_killed_worker_leaves_nothing(fresh: bool, start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker(fresh=fresh)
    linger.delay(60)
    wait_until(lambda: ledger.read(ledger_file, "begin"), 15, "the body began")
    everything = worker.processes()
    assert everything[0] == worker.pid
    assert ledger.read(ledger_file)[0]["pid"] in worker.children()
    worker.kill()
    worker.close()
    wait_until(lambda: not [pid for pid in everything if alive(pid)], 5, "the end of all of it")


@fresh_and_forked
def test_a_frozen_worker_goes_on_after_it_is_thawed(fresh: bool, start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker(fresh=fresh)
    worker.freeze()
    echo.delay("later")
    worker.thaw()
    wait_until(lambda: ledger.read(ledger_file), 15, "the echo")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_forked_worker_is_what_a_fresh_one_is(host: str, stack: Stack, start_worker: StartWorker) -> None:
    """Session, directory, threads, signals, output, processes, and what it says at its start: its broker, its tasks.

    Another broker than this process has is another environment: it is read while settings are imported.
    """
    env = {"CELERY_BROKER_URL": stack.broker_url.replace("127.0.0.1", host)}
    fresh, forked = start_worker(env=env, fresh=True), start_worker(env=env)
    assert looks(forked) == looks(fresh)
    assert f"{host}:" in forked.text().partition("[tasks]")[0]


@fresh_and_forked
def test_the_end_of_a_worker_is_told(fresh: bool, start_worker: StartWorker) -> None:
    worker = start_worker(fresh=fresh)
    worker.kill()
    assert worker.ended()
    assert worker.wait() == -signal.SIGKILL
    assert worker.start().stop() == 0
    with pytest.raises(RuntimeError, match="ended at its start"):
        start_worker(fresh=fresh, options=["--no-such-option"])


def looks(worker: Worker) -> dict[str, object]:
    process = psutil.Process(worker.pid)
    status = Path(f"/proc/{worker.pid}/status").read_text()
    text = re.sub(r"0x\w+", "ADDRESS", worker.text())
    return {
        "session": os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid,
        "directory": process.cwd(),
        "threads": process.num_threads(),
        "niceness": process.nice(),
        "signals": re.findall(r"Sig(?:Blk|Ign|Cgt):.*", status),
        "standard": [Path(f"/proc/{worker.pid}/fd/{number}").readlink() == worker.log for number in range(3)],
        "processes": [psutil.Process(pid).name() for pid in worker.processes()],
        "banner": re.findall(r"(?<= \.[> ]).*|(?<=  \. ).*", text),
    }
