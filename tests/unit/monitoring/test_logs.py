"""The log of transitions, and the job's ids on whatever a body logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery.signals import after_setup_logger

from jobs import JobTask, job, job_manager
from jobs.execution import rescue
from jobs.models import transitions
from jobs.monitoring import logs
from jobs.monitoring.logs import JobFilter
from jobs.testing.plugin import InlineJobs
from tests.app import stages

pytestmark = pytest.mark.django_db(transaction=True)


@job(bind=True, name="logs.work", max_retries=1)
def work(self: JobTask, fail: int = 0) -> None:
    logging.getLogger("mine").warning("in the body")
    if self.job.attempt <= fail:
        raise ValueError("no")


class Collecting(logging.Handler):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What the logger of transitions, and the logger `mine`, say in this test; with the filter of ids."""
    handler = Collecting()
    handler.addFilter(JobFilter())
    loggers = [logging.getLogger(name) for name in ("jobs.transitions", "mine")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler.records
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def _transitions(records: list[logging.LogRecord]) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in records if record.name == "jobs.transitions"]


def test_a_line_per_transition_with_its_level(jobs_inline: InlineJobs, records: list[logging.LogRecord]) -> None:
    row = job_manager.submit(work, [2])
    jobs_inline.drain()
    moves = [
        ("INFO", "new -> pending"),
        ("INFO", "pending -> queued"),
        ("INFO", "queued -> running"),
        ("WARNING", "running -> scheduled"),
        ("INFO", "scheduled -> pending"),
        ("INFO", "pending -> queued"),
        ("INFO", "queued -> running"),
        ("ERROR", "running -> failed"),
    ]
    assert _transitions(records) == [(level, f"logs.work {row.id} {move}") for level, move in moves]


def test_a_rescue_is_a_warning(records: list[logging.LogRecord]) -> None:
    claimed = stages.claim(job_manager.submit(work))
    rescue.rescue([(claimed.row["id"], claimed.row["attempt_id"])], "died", "test")
    assert _transitions(records)[-1][0] == "WARNING"


def test_what_a_record_carries(jobs_inline: InlineJobs, records: list[logging.LogRecord]) -> None:
    row = job_manager.run_job(("page", 1), work).job
    jobs_inline.drain()
    last: Any = [record for record in records if record.name == "jobs.transitions"][-1]
    assert (last.job, last.attempt, last.key, last.task) == (str(row.id), 1, '["page", 1]', "logs.work")
    assert (last.pool, last.from_state, last.to_state) == ("default", "running", "completed")
    assert 0 <= last.seconds < 60
    first: Any = next(record for record in records if record.name == "jobs.transitions")
    assert first.seconds is None


def test_nothing_is_built_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("jobs.transitions").setLevel(logging.CRITICAL)
    try:
        monkeypatch.setattr(logs, "_extra", lambda _: pytest.fail("it built a record"))
        job_manager.submit(work)
    finally:
        logging.getLogger("jobs.transitions").setLevel(logging.NOTSET)


def test_a_bodys_own_records_carry_the_job(jobs_inline: InlineJobs, records: list[logging.LogRecord]) -> None:
    row = job_manager.submit(work)
    jobs_inline.drain()
    logging.getLogger("mine").warning("outside")
    mine: list[Any] = [record for record in records if record.name == "mine"]
    assert [(record.job, record.attempt) for record in mine] == [(str(row.id), 1), ("", "")]


def test_transitions_keep_their_own_ids_under_the_filter(records: list[logging.LogRecord]) -> None:
    row = job_manager.submit(work)
    created: Any = records[0]
    assert (created.job, created.attempt) == (str(row.id), 0)


def test_connecting_twice_logs_once(records: list[logging.LogRecord]) -> None:
    logs.connect()
    assert transitions.HOOKS.count(logs.log_transitions) == 1
    job_manager.submit(work)
    assert len(_transitions(records)) == 1


def test_celerys_handlers_get_the_filter() -> None:
    logger = logging.getLogger("of a worker")
    logger.addHandler(handler := logging.NullHandler())
    after_setup_logger.send(None, logger=logger, loglevel=0, logfile=None, format="", colorize=False)
    assert any(isinstance(one, JobFilter) for one in handler.filters)
