"""A RabbitMQ server of the test's own, beside any other on the machine: own node name, ports, files, name service."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.services.processes import alive, answers, free_port, wait_until

DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # behind the wrapper on PATH, which would change the user


class PrivateRabbitMQ:
    """The server that lives in `directory`; another process takes it over by naming the same directory.

    It starts in about five seconds, so once for many tests.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._pid_file = directory / "pid"
        ports_file = directory / "ports"
        if not ports_file.exists():
            ports_file.write_text(" ".join(str(free_port()) for _ in range(3)))
        self.port, self._dist_port, self._epmd_port = (int(text) for text in ports_file.read_text().split())
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @staticmethod
    def binary() -> str | None:
        """The server program. Never ask it for its version: RabbitMQ answers by starting a broker."""
        return str(DEBIAN) if DEBIAN.exists() else shutil.which("rabbitmq-server")

    @property
    def pid(self) -> int:
        return int(self._pid_file.read_text())

    def running(self) -> bool:
        return self._pid_file.exists() and alive(self.pid)

    def start(self) -> None:
        """Start it on its port and wait until it accepts connections. What was durable is still there."""
        program = self.binary()
        assert program, "no rabbitmq-server on this machine"
        self._pid_file.unlink(missing_ok=True)
        # left to the system by a shell that ends at once: the server outlives the process that starts it
        subprocess.run(
            ["sh", "-c", '"$0" >>log 2>&1 </dev/null &', program],
            env=os.environ | self._environment(),
            cwd=self.directory,
            start_new_session=True,
            check=True,
        )
        wait_until(lambda: self._pid_file.exists() and answers(self.port), 60, f"rabbitmq on port {self.port}")

    def stop(self) -> None:
        """Stop it in order."""
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

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.directory),  # Erlang keeps its cookie there
            "RABBITMQ_NODENAME": f"jobcenter{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": str(self._pid_file),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _end(self, by: signal.Signals) -> None:
        if self.running():
            pid = self.pid
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, by)
            wait_until(lambda: not alive(pid), 30, f"end of rabbitmq {pid}")
