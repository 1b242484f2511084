"""Django's settings of the jobcenter project, read from the environment; everything has an embedded default.

Nothing set: a development start on this machine with a SQLite file and a broker socket under `var/`. The table of
variables stands in README.md. It must not open a file or a connection: importing settings has no effect.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobcenter import environment

BASE_DIR = Path(__file__).resolve().parent.parent

# --- the start
DEBUG = environment.flag(os.environ, "JOBCENTER_DEBUG", default=True)
SECRET_KEY = environment.secret_key(os.environ, debug=DEBUG)
ALLOWED_HOSTS = environment.words(os.environ, "JOBCENTER_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]

# --- the app
WITH_WHITENOISE = find_spec("whitenoise") is not None  # extra `demo`; elsewhere a web server in front serves the files
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "jobs",
    "jobs.web",
    "jobcenter",
    "jobcenter.demo",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    *(["whitenoise.middleware.WhiteNoiseMiddleware"] if WITH_WHITENOISE else []),
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "jobcenter.urls"
ASGI_APPLICATION = "jobcenter.asgi.application"
WSGI_APPLICATION = "jobcenter.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = None if WITH_WHITENOISE else BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True  # it takes files where the apps have them, nothing is collected

# --- the database
DATABASES = {"default": environment.database(os.environ, BASE_DIR)}
if DATABASES["default"]["ENGINE"] == environment.ENGINES["mariadb"]:
    SILENCED_SYSTEM_CHECKS = ["models.W037", "models.W043"]  # indexes there are others: jobs/migrations/0007
    if find_spec("MySQLdb") is None:
        import_module("pymysql").install_as_MySQLdb()  # extra `mariadb`; where mysqlclient is installed, that is used
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- jobs
WEEK_IN_MS = 7 * 24 * 3600 * 1000
RETENTION = environment.number(os.environ, "JOB_MANAGER_MAX_RETENTION", default=WEEK_IN_MS) / 1000
JOBS: dict[str, Any] = {
    "MAX_CONCURRENT": environment.number(os.environ, "JOB_MANAGER_MAX_CONCURRENT", default=5),
    "CLEANUP_INTERVAL": environment.number(os.environ, "JOB_MANAGER_CLEANUP_INTERVAL", default=300_000) / 1000,
    "RETENTION": {"completed": RETENTION, "failed": RETENTION, "cancelled": RETENTION},
}

# --- Celery: a fast transport that may lose and repeat; the database recovers
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or f"redis+socket://{BASE_DIR}/var/valkey.sock"
CELERY_BROKER_TRANSPORT_OPTIONS = environment.broker_options(CELERY_BROKER_URL)
CELERY_BROKER_CONNECTION_TIMEOUT = 1.5
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_RESULT_BACKEND = "jobs.results:JobBackend"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # what a worker has fetched is out of reach of priority, fairness and pause
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # LOGGING below holds in workers as well
CELERY_DB_REUSE_MAX = 10_000  # tasks per database connection; without it Celery opens a new one for every task
CELERY_TIMEZONE = TIME_ZONE

# --- logs
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
