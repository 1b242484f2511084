import hashlib
import json
import uuid
from collections import defaultdict

from django.db import migrations, models, transaction

import jobs.states
from jobs.migrations._safely import (
    AddCheckLater,
    AddIndexConcurrently,
    AddUniqueConcurrently,
    RemoveConstraintIfThere,
    RemoveIndexConcurrently,
)

NO_LANE = uuid.UUID(int=0)
BATCH = 500


def lane_of(task, timeout):
    """The lane's id as this version of the platform computes it: later facts must not change what is written here."""
    facts = [task, "", "", "", None, None, None, {}, None, "", None if timeout is None else float(timeout), None]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).digest()
    return uuid.UUID(bytes=digest, version=5)


def put_in_lanes(apps, editor):
    """Jobs submitted before there were lanes have no needs and no partition: only task and time-out tell them apart.

    In small transactions, in the order of ids: workers go on beside it.
    """
    using = editor.connection.alias
    rows = apps.get_model("jobs", "Job").objects.using(using).order_by("id")
    last = NO_LANE
    while True:
        with transaction.atomic(using=using):
            page = list(
                rows.filter(id__gt=last).select_for_update().values_list("id", "lane", "task", "timeout")[:BATCH]
            )
            without = defaultdict(list)
            for job_id, lane, task, timeout in page:
                if lane == NO_LANE:
                    without[lane_of(task, timeout)].append(job_id)
            for lane, ids in without.items():
                rows.filter(id__in=ids).order_by().update(lane=lane)
        if len(page) < BATCH:
            return
        last = page[-1][0]


class Migration(migrations.Migration):
    """Whatever takes time with millions of rows: each step by itself, and to be begun again where it was broken off."""

    atomic = False

    dependencies = [
        ("jobs", "0006_turn"),
    ]

    operations = [
        migrations.RunPython(put_in_lanes, migrations.RunPython.noop),
        RemoveIndexConcurrently(
            model_name="job",
            name="job_candidates",
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "pending")), fields=["pool", "lane", "rank", "id"], name="job_candidates"
            ),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    models.Q(("partition", ""), _negated=True),
                    models.Q(
                        (
                            "state__in",
                            [
                                jobs.states.JobState["CANCELLED"],
                                jobs.states.JobState["COMPLETED"],
                                jobs.states.JobState["FAILED"],
                            ],
                        ),
                        _negated=True,
                    ),
                ),
                fields=["task", "partition"],
                name="job_by_partition",
            ),
        ),
        RemoveIndexConcurrently(
            model_name="job",
            name="job_prunable",
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            jobs.states.JobState["CANCELLED"],
                            jobs.states.JobState["COMPLETED"],
                            jobs.states.JobState["FAILED"],
                        ],
                    )
                ),
                fields=["state", "finished_at", "id"],
                name="job_ended",
            ),
        ),
        AddUniqueConcurrently(
            model_name="job",
            constraint=models.UniqueConstraint(fields=("active_key",), name="job_active_key"),
        ),
        AddCheckLater(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Case(
                    models.When(
                        state__in=[
                            jobs.states.JobState["CANCELLED"],
                            jobs.states.JobState["COMPLETED"],
                            jobs.states.JobState["FAILED"],
                        ],
                        then=models.Q(("active_key__isnull", True), ("finished_at__isnull", False)),
                    ),
                    models.When(
                        state__in=[jobs.states.JobState["QUEUED"], jobs.states.JobState["RUNNING"]],
                        then=models.Q(("attempt_id__isnull", False), ("finished_at__isnull", True)),
                    ),
                    models.When(
                        state__in=[
                            jobs.states.JobState["BLOCKED"],
                            jobs.states.JobState["PAUSED"],
                            jobs.states.JobState["PENDING"],
                            jobs.states.JobState["SCHEDULED"],
                        ],
                        then=models.Q(("finished_at__isnull", True)),
                    ),
                    default=models.Value(False),
                    output_field=models.BooleanField(),
                ),
                name="job_suits_its_state",
            ),
        ),
        RemoveConstraintIfThere(
            model_name="job",
            name="job_state_known",
        ),
        RemoveConstraintIfThere(
            model_name="job",
            name="job_finished_iff_final",
        ),
        RemoveConstraintIfThere(
            model_name="job",
            name="job_final_holds_no_key",
        ),
        RemoveConstraintIfThere(
            model_name="job",
            name="job_in_flight_has_attempt",
        ),
        migrations.AlterField(
            model_name="job",
            name="active_key",
            field=models.CharField(blank=True, editable=False, max_length=64, null=True),
        ),
    ]
