"""The feeder: what it does comes to an end, and so does it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from jobs import job_manager
from jobs.admission import passes
from jobs.admission.publishing import JobMessage
from jobs.worker import feeder as module
from jobs.worker.feeder import Feeder, Patience
from tests.app import stages

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


def test_a_feeder_that_hangs_does_not_keep_the_worker_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_WITHIN", 0.1)
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == b"ready\n"
        feeder = Feeder("test", lambda: None)
        feeder.pid = deaf.pid
        begun = time.monotonic()
        feeder.stop()
        assert time.monotonic() - begun < 5
        with pytest.raises(ProcessLookupError):
            os.kill(deaf.pid, 0)
        deaf.returncode = -9  # it has been waited for


def test_the_ear_is_minded_less_while_it_brings_nothing() -> None:
    patience = Patience()
    assert patience.left == 0
    pauses = []
    for _ in range(8):
        patience.looked(for_nothing=True)
        pauses.append(patience.left)
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3]
    assert pauses[0] <= module.DEAF_FOR[0] < pauses[-1] <= module.DEAF_FOR[1]
    patience.looked(for_nothing=False)
    assert patience.left == 0


def test_admission_comes_back_though_there_is_room(
    db: None, sent: list[JobMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While jobs end as fast as they are admitted it would not: no tick, no other pool, no answer to a request."""
    monkeypatch.setattr(passes, "LONGEST", 0)
    monkeypatch.setattr(passes, "BATCH", 1)
    job_manager.submit_many("steward.nobody", [((), {})] * 3)
    stages.start_worker()
    assert [passes.admit("default") for _ in range(4)] == [1, 1, 1, 0]
