"""`docker-compose.yml` judged without Docker: services, health checks, commands that exist, variables settings read."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.base import CLIContext
from celery.bin.celery import celery as celery_cli
from django.conf import settings
from django.core.management import get_commands, load_command_class
from uvicorn.main import main as uvicorn_cli

from jobcenter import celery_app, environment

ROOT = Path(__file__).resolve().parents[2]
APP = ("migrate", "web", "worker-1", "worker-2")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return loaded


def default(text: str) -> str:
    """What compose puts in for `${NAME:-default}`."""
    return re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", text)


def words(entry: dict[str, Any]) -> list[str]:
    return shlex.split(entry["command"])


def celery_options(command: str, options: list[str]) -> dict[str, Any]:
    """What Celery's own command line makes of them; it raises on an option it does not have."""
    context = CLIContext(app=celery_app, no_color=True, workdir=None)
    return celery_cli.commands[command].make_context(command, options, obj=context).params


def test_the_services_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {*APP, "postgres", "redis", "rabbitmq"}
    assert [name for name, entry in services.items() if entry.get("profiles")] == ["redis", "rabbitmq"]


def test_everything_that_stays_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, entry in services.items() if "healthcheck" not in entry] == ["migrate"]


def test_web_and_workers_wait_for_what_they_need(services: dict[str, dict[str, Any]]) -> None:
    for entry in services.values():
        for needed, how in entry.get("depends_on", {}).items():
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in services[needed]
    for name in ("web", "worker-1", "worker-2"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", ["worker-1", "worker-2"])
def test_workers_start_with_options_celery_has(services: dict[str, dict[str, Any]], name: str) -> None:
    start, ping = words(services[name]), shlex.split(services[name]["healthcheck"]["test"])
    assert start[:4] == ["celery", "-A", "jobcenter", "worker"]
    assert celery_options("worker", start[4:])["queues"] == [settings.CELERY_TASK_DEFAULT_QUEUE]
    assert ping[:5] == ["celery", "-A", "jobcenter", "inspect", "ping"]
    assert celery_options("inspect", ping[4:])["destination"] == ["celery@$$HOSTNAME"]


def test_web_serves_the_asgi_application(services: dict[str, dict[str, Any]]) -> None:
    program, application, *options = words(services["web"])
    assert program == "uvicorn"
    module, _, name = application.partition(":")
    # in a process of its own: the module starts a steward
    loaded = subprocess.run(
        [sys.executable, "-c", f"from {module} import {name} as app; print(callable(app))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "True"
    port = uvicorn_cli.make_context("uvicorn", [application, *options]).params["port"]
    assert services["web"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/accounts/login/" in services["web"]["healthcheck"]["test"]


def test_migrate_is_a_command_of_ours(services: dict[str, dict[str, Any]]) -> None:
    program, script, command, *options = words(services["migrate"])
    assert program == "python"
    assert (ROOT / script).exists()
    parser = load_command_class(get_commands()[command], command).create_parser(script, command)
    assert parser.parse_args(options).interactive is False


@pytest.mark.parametrize("name", APP)
def test_variables_are_ones_that_settings_read(services: dict[str, dict[str, Any]], name: str) -> None:
    read = (ROOT / "jobcenter/settings.py").read_text() + (ROOT / "jobcenter/environment.py").read_text()
    for variable in services[name]["environment"]:
        assert f'"{variable}"' in read, f"{variable} is set, and nothing reads it"


def test_addresses_lead_to_services(services: dict[str, dict[str, Any]]) -> None:
    env = {key: default(value) for key, value in services["web"]["environment"].items()}
    entry = environment.database(env, ROOT)
    assert entry["ENGINE"] == "django.db.backends.postgresql"
    server = services[entry["HOST"]]["environment"]
    assert (entry["USER"], entry["NAME"]) == (server["POSTGRES_USER"], server["POSTGRES_DB"])
    assert entry["PASSWORD"] == default(server["POSTGRES_PASSWORD"])
    assert re.fullmatch(r"redis://(\w+):6379/0", env["CELERY_BROKER_URL"]).group(1) in services  # type: ignore[union-attr]
    assert not environment.store_conflicts(env, ROOT)
    assert not environment.flag(env, "JOBCENTER_DEBUG", default=True)


def test_the_image_holds_what_the_commands_need() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())
    constraints = re.search(r"--constraint (\S+)", text)
    assert constraints
    assert (ROOT / constraints.group(1)).exists()
