"""The demo as a Django app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "jobcenter.demo"
    label = "demo"
    verbose_name = "Demo"
