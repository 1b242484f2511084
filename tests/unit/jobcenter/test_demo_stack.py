"""What the demo tells its processes, and which port it takes."""

import socket
from pathlib import Path

import pytest

from jobcenter import environment
from jobcenter.demo import stack
from jobcenter.demo.supervisor.directory import LONGEST_SOCKET_PATH, a_new_path

pytestmark = pytest.mark.unit


def test_all_settings_lead_into_the_private_directory() -> None:
    env = stack.environment(Path("/private/a b"), {"DATABASE_URL": "postgresql://elsewhere/db", "PATH": "/bin"})
    assert environment.database(env, Path("/base"))["NAME"] == "/private/a b/jobcenter.sqlite3"
    assert env["CELERY_BROKER_URL"] == "redis+socket:///private/a%20b/valkey.sock"
    assert env["PATH"] == "/bin"


def test_nothing_inherited_contradicts_them() -> None:
    inherited = {"JOB_STORE_TYPE": "memory", "JOB_STORE_PATH": "x.db", "JOBCENTER_ALLOWED_HOSTS": "example.org"}
    env = stack.environment(Path("/private"), inherited)
    assert environment.store_conflicts(env, Path("/base")) == []
    assert "JOBCENTER_ALLOWED_HOSTS" not in env


def test_the_maximum_may_be_chosen_and_the_secret_is_new_each_time() -> None:
    assert stack.environment(Path("/p"), {"JOB_MANAGER_MAX_CONCURRENT": "2"})["JOB_MANAGER_MAX_CONCURRENT"] == "2"
    first, second = (stack.environment(Path("/p"), {})["JOBCENTER_SECRET_KEY"] for _ in range(2))
    assert first != second


def test_a_taken_port_is_left_to_its_owner() -> None:
    with socket.socket() as listener:
        listener.bind((stack.HOST, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert stack.free_port(taken) not in (taken, 0)
    assert stack.free_port(taken) == taken


def test_the_directory_leaves_room_for_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("/short", "/" + "long/" * 30):
        monkeypatch.setattr("tempfile.tempdir", base)
        assert len(str(a_new_path() / stack.SOCKET)) < LONGEST_SOCKET_PATH
