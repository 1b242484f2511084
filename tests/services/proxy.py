"""A network between a worker and its server that can be cut, or fall silent, while both sides stay as they are."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class Proxy:
    """Passes TCP connections on to a port of this machine, from one of its own, in a thread.

    `cut()` ends every connection and every new one at once; `silence()` keeps them open and lets nothing through, as a
    network does that has lost its way; `heal()` passes on again, and what was under way in silence arrives late.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._is_cut = False
        self.port = 0
        self.accepted = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        self._is_cut = True
        self._do(self._close_all())

    def silence(self) -> None:
        self._loop.call_soon_threadsafe(self._passing.clear)

    def heal(self) -> None:
        self._is_cut = False
        self._loop.call_soon_threadsafe(self._passing.set)

    def _do(self, act: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(act, self._loop)
        return done.result(10)

    async def _listen(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        self._passing.set()
        await self._close_all()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=5)
        await asyncio.sleep(0.1)  # in which the loop closes what is left of the sockets

    async def _close_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        self.accepted += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        mine = {writer, back}
        self._writers |= mine
        await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        self._writers -= mine

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
