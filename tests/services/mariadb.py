"""A MariaDB server of the test's own, on a private port: it may be killed and restarted on the same port."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pymysql

from tests.services.processes import alive, free_port, hand_over, unprivileged, wait_until


class PrivateMariaDB:
    """The server that lives in `directory`; another process takes it over by naming the same directory.

    Like PostgreSQL it does not run as root. Data are not flushed to the disk: a killed server loses nothing, a dead
    machine would. Who connects from this machine is `root`, without a password.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._data = directory / "data"
        self._pid_file = directory / "pid"
        port_file = directory / "port"
        if not port_file.exists():
            port_file.write_text(str(free_port()))
            hand_over(directory)
        self.port = int(port_file.read_text())
        self.url = f"mariadb://root@127.0.0.1:{self.port}/jobcenter"

    @staticmethod
    def programs() -> tuple[str, str] | None:
        """The server and what makes its files, both on PATH, or None."""
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # where Debian has it, and few users look
        server, maker = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
        return (server, maker) if server and maker else None

    def start(self) -> None:
        """Start it on its port (the first time: make its files and a database) and wait until it answers."""
        programs = self.programs()
        assert programs, "no mariadbd or no mariadb-install-db on PATH"
        is_new = not self._data.exists()
        if is_new:
            self._make_files(programs[1])
        self._pid_file.unlink(missing_ok=True)
        with (self.directory / "log").open("a") as log:
            subprocess.run(
                ["sh", "-c", '"$@" &', "sh", programs[0], *self._options()],
                cwd=self.directory,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **unprivileged(),
            )
        wait_until(self._answers, 60, f"mariadb on port {self.port}: {self.directory / 'log'}")
        if is_new:
            with self._connect() as connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE jobcenter CHARACTER SET utf8mb4")

    def stop(self) -> None:
        """`kill -9`: a crash."""
        if self.running():
            pid = int(self._pid_file.read_text())
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not alive(pid), 10, "the end of mariadb")

    def running(self) -> bool:
        return self._pid_file.exists() and alive(int(self._pid_file.read_text()))

    def heal(self) -> None:
        """Running, whatever the last test did."""
        if not self.running():
            self.start()

    def _make_files(self, program: str) -> None:
        words = ["--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal"]
        with (self.directory / "log").open("a") as log:
            subprocess.run(
                [program, *words, "--skip-test-db"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                **unprivileged(),
            )

    def _options(self) -> list[str]:
        return [
            "--no-defaults",
            f"--datadir={self._data}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self._pid_file}",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-flush-method=nosync",
        ]

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.OperationalError:
            return False
        return True

    def _connect(self) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=2)
