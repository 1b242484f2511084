"""Django settings for procrastinate, those of its page "Configure Django & Procrastinate to work together"."""

from benchmarks.workers.settings_common import *  # noqa: F403  # the way Django settings extend others

INSTALLED_APPS = ["procrastinate.contrib.django"]
PROCRASTINATE_IMPORT_PATHS = ["benchmarks.workers.procrastinate_tasks"]
