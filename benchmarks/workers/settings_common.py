"""What the Django settings of all systems share: the trial's database and broker. Must not name an app."""

from typing import Any

from benchmarks.place import Place

_place = Place.from_environ()

SECRET_KEY = "of no worth: this site lives for one trial"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _place.database,
        "USER": _place.postgres_user,
        "HOST": _place.postgres_socket,
    }
}
CELERY_BROKER_URL = _place.broker_url
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
