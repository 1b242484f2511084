"""The test jobs as a Django app, so that workers find its `tasks`."""

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    name = "tests.app"
    label = "testapp"
