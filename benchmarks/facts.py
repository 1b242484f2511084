"""The machine and the versions, as far as they help to read the figures. Must not name the machine or its user."""

import os
import platform
import statistics
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import psycopg
import redis

from benchmarks.servers import POSTGRES_USER, Servers

PACKAGES = (
    "celery",
    "kombu",
    "redis",
    "django",
    "psycopg",
    "django-celery-results",
    "procrastinate",
    "django-tasks",
    "django-tasks-db",
)


def gather(servers: Servers) -> dict[str, str]:
    """Facts by name, in the order in which they are shown."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "postgresql": _postgres_version(servers),
        "broker": _broker_version(servers),
        "flush": f"{_flush_microseconds(servers.directory):.0f} µs for 8 kB written and flushed (median)",
    }


def _commit() -> str:
    """The commit measured, and whether the tree differs from it; outside a checkout, unknown."""
    here = Path(__file__).parent
    ask = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(ask, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _postgres_version(servers: Servers) -> str:
    with psycopg.connect(host=servers.postgres_socket, user=POSTGRES_USER, dbname="postgres") as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return f"{row[0] if row else 'unknown'}, own server on a unix socket, its default settings"


def _broker_version(servers: Servers) -> str:
    with redis.Redis(unix_socket_path=servers.redis_socket) as client:
        told = client.info("server")
    name = "Valkey " + told["valkey_version"] if "valkey_version" in told else "Redis " + told["redis_version"]
    return f"{name}, own server on a unix socket, nothing kept on disk"


def _flush_microseconds(directory: Path) -> float:
    """How long the disk takes to promise a write into a file that does not grow: what each commit waits for."""
    path = directory / "flush"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(201):
            began = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(8192), 0)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    path.unlink()
    return statistics.median(took)
