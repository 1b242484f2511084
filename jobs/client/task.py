"""`@job`, the Celery task class behind it, and Celery's own ways to submit: `delay`, `apply_async`, `retry`.

`JobTask.__call__` is the only wrapper around user code. It runs in the process of the body, in every Celery pool.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NoReturn, overload
from uuid import UUID

from celery import shared_task
from celery import states as celery_states
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore

from jobs import submission
from jobs.admission.publishing import HOOKS_HEADER, JOBS_HEADER
from jobs.client import eager
from jobs.client.celery_options import translate
from jobs.core.options.job_options import JobOptions
from jobs.exceptions import InvalidArguments, InvalidOption
from jobs.execution import context
from jobs.execution.attempt import perform
from jobs.execution.context import JobContext
from jobs.execution.failures.failure import RetryJob
from jobs.execution.hooks import HookFunction, Hooks, run_remaining
from jobs.results import JobResult

DEFAULT_MANAGER = ""

_IGNORED = frozenset(
    {
        "producer",
        "connection",
        "router",
        "publisher",
        "headers",
        "reply_to",
        "retry",
        "retry_policy",
        "serializer",
        "compression",
        "ignore_result",
        "shadow",
        "time_limit",
        "soft_time_limit",
        "add_to_parent",
        "root_id",
        "parent_id",
        "user_id",
        "argsrepr",
        "kwargsrepr",
        "routing_key",
        "exchange",
        "exchange_type",
        "mandatory",
        "immediate",
        "delivery_mode",
        "stamped_headers",
        "stamps",
        "countdown",
        "eta",
        "queue",
    }
)
_REFUSED = {
    "link": "submit the next job from this one's body, or declare a dependency",
    "link_error": "use a receiver of jobs.signals.job_failed",
    "chain": "jobs do not form canvases: submit the next job from this one's body",
    "chord": "jobs do not form canvases: submit the next job from this one's body",
    "group_id": "jobs do not form canvases: use submit_many",
    "group_index": "jobs do not form canvases: use submit_many",
    "task_id": "the id is generated; use a run key (job_manager.run_job) to name a job yourself",
}


class JobTask(DjangoTask[Any, Any]):
    """A Celery task whose calls are jobs. `options` holds what `@job` declared."""

    abstract = True
    ignore_result = True
    store_errors_even_if_ignored = False  # against the setting of the host: the row is the record
    typing = False  # the message has no arguments; those of a job are checked at submit
    Request = "jobs.worker:JobRequest"
    options: JobOptions = JobOptions()
    hooks: Hooks = Hooks()
    worker_id: ClassVar[UUID | None] = None
    """The boot id of this process's worker; forked children inherit it."""

    @functools.cached_property
    def parameters(self) -> inspect.Signature:
        """The function's signature without `self`. Submissions are checked against it."""
        return inspect.signature(self.run)

    @property
    def job(self) -> JobContext:
        """The context of the running job; outside of a job, a stand-in that keeps what is written to it."""
        return context.current() or JobContext()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Called by Celery: run the jobs that the message names. Called directly: run the plain function."""
        if self.request.called_directly or context.current() is not None:
            return self._call_plainly(*args, **kwargs)
        hook_pairs = self.request.get(HOOKS_HEADER)
        if hook_pairs is not None:
            return self._run_hooks(hook_pairs)
        pairs = self.request.get(JOBS_HEADER)
        if pairs is None:
            return self._submit(args, kwargs)
        worker_id, hooks = JobTask.worker_id, self.hooks
        try:
            ran = [perform(UUID(job), UUID(attempt), self.body, worker_id, hooks) for job, attempt in pairs]
        except KeyboardInterrupt:  # raised by a body, and recorded: Ctrl-C does not reach a worker's child
            return None
        if not any(ran):
            raise Ignore
        return None

    def delay(self, *args: Any, **kwargs: Any) -> JobResult:
        """Submit a job with these arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(  # type: ignore[override]  # Celery names each option; ours are checked by name at run time
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> JobResult:
        """Submit a job with Celery's signature of `apply_async`.

        countdown, eta, queue and priority become options of the job. Options of messages (producer, headers, retry …)
        are ignored. Canvas options and `task_id` raise InvalidOption. With Celery's `task_always_eager` the job runs at
        once in this process, as with `apply`.
        """
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        (job,) = submission.submit(DEFAULT_MANAGER, self, [(args or (), kwargs or {})], _mapped(options))
        return JobResult(str(job.id))

    def apply(  # type: ignore[override]  # answers with the job's result, not with an EagerResult
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        throw: bool | None = None,
        **options: Any,
    ) -> JobResult:
        """Submit a job and run it in this process, with its retries, until it has ended.

        With `throw` (by default Celery's `task_eager_propagates`) it raises JobFailed or JobCancelled if it did not
        complete.
        """
        (job,) = submission.submit(DEFAULT_MANAGER, self, [(args or (), kwargs or {})], _mapped(options))
        eager.run(job)
        result = JobResult(str(job.id))
        if self.app.conf.task_eager_propagates if throw is None else throw:
            result.maybe_throw()
        return result

    def AsyncResult(self, task_id: str, **options: Any) -> JobResult:  # noqa: N802  # Celery's name
        """A job as Celery's AsyncResult, by its id, in any process. `revoke` cancels it, `forget` deletes it."""
        return JobResult(task_id, app=self.app, **options)

    def retry(  # type: ignore[override]  # raises instead of returning what to raise
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        countdown: float | None = None,
        **options: Any,
    ) -> NoReturn:
        """End this attempt by an exception, and try again after `countdown` seconds, as Celery's `retry`.

        The job's `max_retries` limits it. `args`, `kwargs`, `eta` and `max_retries` raise InvalidOption: a retry does
        not change the job.
        """
        changes = {"args": args, "kwargs": kwargs, "eta": options.get("eta"), "max_retries": options.get("max_retries")}
        for name, value in changes.items():
            if value is not None:
                raise InvalidOption(f"{name}: a retry cannot change the job. Submit another job.", option=name)
        raise RetryJob(exc, countdown and context.seconds_within_reach("countdown", countdown))

    def on_cancel(self, act: HookFunction) -> HookFunction:
        """Decorate a function to be called with the job's context (`self.job`) when a started job is cancelled.

        It runs in the process of the body, after the body has stopped and before the job is `cancelled`; after a kill
        it runs in another process. It runs once per run, and again only if its process dies in it.
        """
        if self.hooks.on_cancel is not None:
            raise InvalidOption(f"{self.name} has an on_cancel hook already.", option="on_cancel")
        self.hooks.on_cancel = act
        return act

    def cleanup(self, act: HookFunction) -> HookFunction:
        """Decorate a function to be called with the job's context when a started job has ended in any way.

        It runs after the end is recorded, and after `on_cancel`; otherwise as `on_cancel`.
        """
        if self.hooks.cleanup is not None:
            raise InvalidOption(f"{self.name} has a cleanup hook already.", option="cleanup")
        self.hooks.cleanup = act
        return act

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any) -> None:
        """Celery's way to report progress: sets the job's live state, which `AsyncResult` shows while it runs.

        Celery's own states (SUCCESS, RETRY …) and the id of another job raise InvalidOption.
        """
        running = self.job
        if task_id is not None and task_id not in {str(running.id), self.request.id}:
            raise InvalidOption(f"task_id: {task_id!r:.60} is not the job that runs here.", option="task_id")
        if state in celery_states.ALL_STATES:
            problem = f"state: {state} is set by how the body ends. Use another word, such as PROGRESS."
            raise InvalidOption(problem, option="state")
        running.set_state({"type": state or "PROGRESS", "meta": meta})

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as a running job; InvalidArguments, as a submission by name could not check them."""
        try:
            self.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{self.name}{self.parameters}: {error}", task=self.name) from None
        return self.run(*args, **kwargs)

    def _call_plainly(self, *args: Any, **kwargs: Any) -> Any:
        detached = JobContext(args=list(args), kwargs=kwargs)
        token = context.bind(detached)
        try:
            return super().__call__(*args, **kwargs)
        finally:
            detached.end()
            context.unbind(token)

    def _run_hooks(self, pairs: Sequence[Sequence[str]]) -> None:
        """Run the hooks of jobs that ended without their process."""
        ran = [run_remaining(UUID(job), UUID(hook), self.hooks, JobTask.worker_id) for job, hook in pairs]
        if not any(ran):
            raise Ignore

    def _submit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Submit a job for a message without our header (`send_task`, beat, canvas)."""
        (job,) = submission.submit(DEFAULT_MANAGER, self, [(args, kwargs)], {})
        return str(job.id)


@overload
def job(function: Callable[..., Any], /) -> JobTask: ...
@overload
def job(*, bind: bool = False, name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], JobTask]: ...
def job(
    function: Callable[..., Any] | None = None, /, *, bind: bool = False, name: str | None = None, **options: Any
) -> JobTask | Callable[[Callable[..., Any]], JobTask]:
    """Make a function a job: `@job` or `@job(bind=True, priority="high", max_retries=3, …)`.

    With `bind` the function gets the task as `self`, and the running job as `self.job`. `name` is the task's name, by
    default module.function. The other options are the defaults of each submission: see `JobOptions`. Celery's retry
    options (`autoretry_for`, `retry_backoff` …) are translated. An unknown or wrong option raises InvalidOption.
    """
    declared = JobOptions().but(translate(options))

    def make(body: Callable[..., Any]) -> JobTask:
        if inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body):
            raise InvalidOption(f"{body.__qualname__}: a job must be a plain function, not a coroutine or a generator.")
        extra: dict[str, Any] = {} if name is None else {"name": name}
        return shared_task(bind=bind, base=JobTask, options=declared, hooks=Hooks(), **extra)(body)

    return make if function is None else make(function)


def _mapped(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `apply_async` as options of the job."""
    for name in options:
        if name in _REFUSED and options[name] is not None:
            raise InvalidOption(f"{name}: {_REFUSED[name]}.", option=name)
    ours = {name: value for name, value in options.items() if name not in _IGNORED and name not in _REFUSED}
    when: datetime | float | None = options.get("eta") or options.get("countdown")
    if when is not None:
        ours["run_after"] = when
    if options.get("queue") is not None:
        ours["pool"] = str(getattr(options["queue"], "name", options["queue"]))
    if isinstance(ours.get("priority"), int):
        ours["priority"] = _priority_name(ours["priority"])
    return ours


def _priority_name(number: int) -> str:
    """Celery's 0-9 (on RabbitMQ 9 is the most urgent) as the name of a priority."""
    return ("low", "medium", "high", "critical")[min(3, max(0, number) // 3)]
