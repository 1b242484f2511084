"""Runs the processes of the demo: starts them, waits for what they promise, and leaves nothing behind.

Knows processes, signals and one directory; what the processes are stands in `jobcenter.demo.stack`. Signals only raise
a flag, which every wait looks at: no process can be started and forgotten in between.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from jobcenter.demo.supervisor.child import Child
from jobcenter.demo.supervisor.directory import PrivateDirectory

__all__ = ["ChildDied", "Stopped", "Supervisor", "TookTooLong"]

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 5.0  # seconds between the request to end and the kill
PAUSE = 0.1  # seconds between two looks at children and signals


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The supervisor was asked to stop by this signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.signal = signal.Signals(number)


class ChildDied(Exception):  # noqa: N818 - says what happened
    """A child ended unexpectedly; the text says which one, how, and what it wrote last."""


class TookTooLong(Exception):  # noqa: N818 - says what happened
    """What was waited for did not happen in time."""


class Supervisor:
    """Use it in a `with`: at its end, however that comes, every child is gone, and `directory` with it.

    Should this very process be killed, the kernel ends the children (on Linux), and `directory` is still removed.
    """

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.env = env
        self._generations: list[list[Child]] = []
        self._place = PrivateDirectory(directory)
        self._signal: int | None = None
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup is respected
                self._handlers[number] = signal.signal(number, self._note)
        self._place.make()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for generation in reversed(self._generations):
                self._end(generation)
            self._place.remove()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() itself gave

    def start(self, programs: Mapping[str, Sequence[str]], *, stop: signal.Signals = signal.SIGTERM) -> list[Child]:
        """Start programs by name, each in a process group of its own and with the log `<name>.log`.

        They are a generation: it is ended together, by the signal `stop`, after all that were started later.
        """
        self.watch()
        generation = [Child(name, words, self.directory, self.env, stop) for name, words in programs.items()]
        self._generations.append(generation)
        for child in generation:
            child.start()
        return generation

    def watch(self) -> None:
        """Raise Stopped when a signal has asked for the end, ChildDied when a child is no longer there."""
        if self._signal is not None:
            raise Stopped(self._signal)
        for generation in self._generations:
            for child in generation:
                if child.has_ended:
                    raise ChildDied(child.last_words())

    def pause(self) -> None:
        """Wait a little, and watch."""
        time.sleep(PAUSE)
        self.watch()

    def wait_until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for something to become true; TookTooLong says what did not within `seconds`."""
        give_up_at = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up_at:
                raise TookTooLong(f"{what}: not within {seconds:.0f} s")
            self.pause()

    @staticmethod
    def _end(generation: Sequence[Child]) -> None:
        for child in generation:
            child.ask_to_stop()
        give_up_at = time.monotonic() + PATIENCE
        for child in generation:
            child.end(give_up_at)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = self._signal or number
