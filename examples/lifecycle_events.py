"""Lifecycle events: a receiver that hears of every transition, after the commit that made it true."""

from typing import Any

from django.dispatch import receiver

from jobs import Job
from jobs.signals import job_transitioned


@receiver(job_transitioned)
def on_transition(sender: type[Job], job: Job, from_state: str, to_state: str, **kwargs: Any) -> None:
    print(job.id, from_state or "(new)", "→", to_state)
