"""A call, checked and encoded; what a submit makes of it is in test_submission."""

from __future__ import annotations

import inspect
import json
from typing import Any
from uuid import UUID

import pytest

from jobs import JobTask, job
from jobs.core.options.declared_task import JobLike
from jobs.core.options.job_options import JobOptions
from jobs.exceptions import InvalidArguments
from jobs.submission.calls import encoded


@job(bind=True, name="calls.paint")
def paint(self: JobTask, what: str, *, colour: str = "red") -> None: ...


def test_a_job_is_like_a_job() -> None:
    assert isinstance(paint, JobLike)
    assert str(paint.parameters) == "(what: 'str', *, colour: 'str' = 'red') -> 'None'"
    assert isinstance(inspect.signature(paint.run), inspect.Signature)
    assert not isinstance(print, JobLike)


def test_a_call_becomes_an_id_and_two_texts() -> None:
    job_id, args, kwargs, partition = encoded(paint, (["door"], {"colour": "blue"}), JobOptions())
    assert isinstance(job_id, UUID)
    assert job_id.version == 7
    assert (json.loads(args), json.loads(kwargs), partition) == (["door"], {"colour": "blue"}, "")


def test_ids_are_ordered_as_the_calls_are() -> None:
    ids = [encoded(None, ((), {}), JobOptions())[0] for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5000


@pytest.mark.parametrize("call", [([], {}), (["a", "b"], {}), (["a"], {"size": 5}), (["a"], {"what": "b"})], ids=repr)
def test_what_the_function_does_not_take(call: Any) -> None:
    with pytest.raises(InvalidArguments, match=r"calls\.paint\(what") as caught:
        encoded(paint, call, JobOptions())
    assert caught.value.task == "calls.paint"
    assert encoded(None, call, JobOptions())  # nobody here knows the function: checked at the claim
