"""What becomes of a job that is submitted where its partition is at its limit."""

from __future__ import annotations

from django.db import models


class Policy(models.TextChoices):
    """What becomes of a job that is submitted where its partition is at its limit."""

    WAIT = "wait", "it waits"
    REFUSE = "refuse", "it is refused"
    CANCEL_RUNNING = "cancel_running", "those in flight are asked to stop"
    LATEST = "latest", "it takes the place of the one that waits"
