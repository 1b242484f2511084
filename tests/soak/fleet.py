"""The workers of a soak: each is started again whenever it has ended, as a supervisor would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.services import Worker

Say = Callable[[str], None]


@contextmanager
def fleet(size: int, processes: int, directory: Path, env: Mapping[str, str], say: Say) -> Iterator[list[Worker]]:
    """So many prefork workers, kept running. What they write goes to `directory`; none of them is left at the end."""
    workers = [
        Worker(directory / f"worker-{number}.log", concurrency=processes, env=env).start() for number in range(size)
    ]
    over = threading.Event()
    supervisors = [threading.Thread(target=_supervise, args=(worker, over, say), daemon=True) for worker in workers]
    for supervisor in supervisors:
        supervisor.start()
    try:
        yield workers
    finally:
        over.set()
        for worker, supervisor in zip(workers, supervisors, strict=True):
            worker.close()
            supervisor.join(60)
            worker.close()  # one that was just being started


def _supervise(worker: Worker, over: threading.Event, say: Say) -> None:
    while not over.wait(0.5):
        if worker.ended():
            try:
                worker.start(ready_within=60)
            except (RuntimeError, TimeoutError) as error:
                say(f"{worker.log.stem} did not start: {error}")
            else:
                say(f"{worker.log.stem} is back")
