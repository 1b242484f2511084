"""Settings of the unit tests: the project's own, on SQLite in memory, with a broker that does not exist.

Whatever the environment says is left out: a unit test never meets a server by accident.
"""

import os

for name in ("DATABASE_URL", "CELERY_BROKER_URL", "JOB_STORE_TYPE", "JOB_STORE_PATH"):
    os.environ.pop(name, None)

from jobcenter.settings import *  # noqa: E402, F403  # settings are inherited whole, once the environment is clean
from jobcenter.settings import DATABASES, INSTALLED_APPS  # noqa: E402  # the same

DEBUG = False
INSTALLED_APPS = [*INSTALLED_APPS, "tests.app"]
DATABASES["default"]["NAME"] = ":memory:"
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
