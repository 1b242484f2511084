"""Reads environment variables into values for `settings.py`: switches, numbers, addresses of databases and brokers.

Pure functions of a mapping; a value that cannot be understood is refused with `ImproperlyConfigured` naming the
variable. It must not import Django's settings, and it must not open, create or connect to anything.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

MEMORY_NAME = "file:jobcenter?mode=memory&cache=shared"  # one database for all threads of the process
SQLITE_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",  # deferred transactions fail at once when they turn from reading to writing
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=67108864",
}
ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
    "postgres": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
    "mariadb": "django.db.backends.mysql",
}
MARIADB_OPTIONS: dict[str, Any] = {
    "charset": "utf8mb4",
    "isolation_level": "read committed",  # limits hold only there; the server's own default is another
}
STORE_TYPES = ("memory", "file", "database")


def database(env: Mapping[str, str], base_dir: Path) -> dict[str, Any]:
    """The entry of `DATABASES` that the environment asks for: DATABASE_URL wins, then JOB_STORE_TYPE, then a file."""
    if url := env.get("DATABASE_URL"):
        return parse_database_url(url, base_dir)
    if store_type(env) == "memory":
        return _sqlite(MEMORY_NAME)
    return _sqlite(str(store_path(env, base_dir)))


def parse_database_url(url: str, base_dir: Path) -> dict[str, Any]:
    """An entry of `DATABASES` for an address of one of these forms; a query string becomes driver options.

    `sqlite:///relative.db` (from `base_dir`), `sqlite:////absolute.db`, `sqlite://:memory:`,
    `postgresql://user:password@host:port/name?sslmode=require`, `mariadb://user:password@host:port/name`.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ENGINES:
        raise ImproperlyConfigured(
            f"DATABASE_URL has the scheme {scheme!r}; it must be one of {', '.join(sorted(ENGINES))}."
            f"{did_you_mean(scheme, ENGINES)}"
        )
    if scheme == "sqlite":
        return _sqlite(_sqlite_name(rest, base_dir))
    return _server(ENGINES[scheme], urlsplit(url))


def _sqlite_name(rest: str, base_dir: Path) -> str:
    path = unquote(rest.removeprefix("/"))
    if path == ":memory:":
        return MEMORY_NAME
    if not path or not rest.startswith("/"):
        raise ImproperlyConfigured(
            f"DATABASE_URL 'sqlite://{rest}' names no file; write sqlite:///file.db (relative), "
            "sqlite:////absolute/file.db or sqlite://:memory:."
        )
    return str(base_dir / path)


def _sqlite(name: str) -> dict[str, Any]:
    return {"ENGINE": ENGINES["sqlite"], "NAME": name, "OPTIONS": dict(SQLITE_OPTIONS)}


def _server(engine: str, parts: SplitResult) -> dict[str, Any]:
    try:
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}.") from error
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise ImproperlyConfigured("DATABASE_URL names no database; write postgresql://user:password@host:port/name.")
    own = MARIADB_OPTIONS if engine == ENGINES["mariadb"] else {}
    options = {**own, **{key: int(text) if text.isdigit() else text for key, text in parse_qsl(parts.query)}}
    return {
        "ENGINE": engine,
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or "") or options.pop("host", ""),  # ?host=/run/dir is a unix socket
        "PORT": str(port or options.pop("port", "")),
        "OPTIONS": options,
    }


def store_type(env: Mapping[str, str]) -> str:
    """JOB_STORE_TYPE, or "" where it is not set."""
    value = env.get("JOB_STORE_TYPE", "").strip().lower()
    if value and value not in STORE_TYPES:
        raise ImproperlyConfigured(
            f"JOB_STORE_TYPE is {value!r}; it must be one of {', '.join(STORE_TYPES)}."
            f"{did_you_mean(value, STORE_TYPES)}"
        )
    return value


def store_path(env: Mapping[str, str], base_dir: Path) -> Path:
    """The SQLite file: JOB_STORE_PATH (a file, or a directory for `jobcenter.sqlite3`), else one under `var/`."""
    text = env.get("JOB_STORE_PATH", "")
    path = base_dir / (text or "var/jobcenter.sqlite3")
    return path / "jobcenter.sqlite3" if text.endswith("/") or path.is_dir() else path


def store_conflicts(env: Mapping[str, str], base_dir: Path) -> list[str]:
    """What JOB_STORE_TYPE and JOB_STORE_PATH say against DATABASE_URL, or against each other, in sentences."""
    kind, url, path = store_type(env), env.get("DATABASE_URL", ""), env.get("JOB_STORE_PATH", "")
    if kind == "database" and not url:
        return ["JOB_STORE_TYPE is 'database', but DATABASE_URL is not set."]
    if kind == "memory" and path:
        return [f"JOB_STORE_TYPE is 'memory', but JOB_STORE_PATH names a file, {path!r}."]
    if not url:
        return []
    name, engine = (parse_database_url(url, base_dir)[field] for field in ("NAME", "ENGINE"))
    is_file = engine == ENGINES["sqlite"] and name != MEMORY_NAME
    conflicts = []
    if kind == "memory" and name != MEMORY_NAME:
        conflicts.append("JOB_STORE_TYPE is 'memory', but DATABASE_URL names a database that is not in memory.")
    if kind == "file" and not is_file:
        conflicts.append("JOB_STORE_TYPE is 'file', but DATABASE_URL names no SQLite file.")
    if path and name != str(store_path(env, base_dir)):
        conflicts.append(f"JOB_STORE_PATH is {path!r}, but DATABASE_URL names another database.")
    return conflicts


def flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A switch: 1, true, yes, on or 0, false, no, off."""
    text = env.get(name, "").strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    if text:
        raise ImproperlyConfigured(f"{name} is {env[name]!r}; it must be 1, true, yes, on or 0, false, no, off.")
    return default


def number(env: Mapping[str, str], name: str, *, default: int) -> int:
    """A whole number greater than zero."""
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ImproperlyConfigured(f"{name} is {text!r}; it must be a whole number greater than zero.")
    return int(text)


def words(env: Mapping[str, str], name: str) -> list[str]:
    """A list separated by commas."""
    return [word.strip() for word in env.get(name, "").split(",") if word.strip()]


def secret_key(env: Mapping[str, str], *, debug: bool) -> str:
    """JOBCENTER_SECRET_KEY; only a development start (debug on) gets along without one."""
    if key := env.get("JOBCENTER_SECRET_KEY"):
        return key
    if debug:
        return "django-insecure-for-development-on-this-machine-only"
    raise ImproperlyConfigured(
        "JOBCENTER_SECRET_KEY is not set and JOBCENTER_DEBUG is off: a production start needs a secret of its own, at "
        "least 50 random characters. Make one: "
        "python -c 'from django.core.management.utils import get_random_secret_key as k; print(k())'"
    )


def broker_options(broker_url: str) -> dict[str, Any]:
    """Transport options for the broker: no call may wait forever on a broker that hangs.

    RabbitMQ confirms what it has taken. Redis gets socket time-outs (its default is to wait for ever) and looks every
    few seconds for what a dead worker had taken, where kombu's default looks every 100 s.
    """
    scheme = broker_url.partition("://")[0]
    if scheme.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True}
    if scheme.startswith("redis") or scheme == "sentinel":
        return {
            "socket_connect_timeout": 1.0,
            "socket_timeout": 1.5,
            "socket_keepalive": True,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
    return {}


def did_you_mean(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """` Did you mean 'x'?`, or nothing where no name is near."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
