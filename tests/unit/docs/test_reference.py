"""The docs say what the code does: every state, edge, setting and public method has its line."""

import dataclasses
from pathlib import Path

import pytest

from jobs import states
from jobs.client.manager import JobManager
from jobs.core.conf import JobsSettings
from jobs.core.options.job_options import JobOptions
from jobs.models import Limit, Pool

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_diagram_is_the_one_of_the_table() -> None:
    assert states.diagram() in (DOCS / "lifecycle.md").read_text()


@pytest.mark.parametrize("state", list(states.JobState))
def test_every_state_is_described_in_its_own_words(state: states.JobState) -> None:
    row = f"| `{state}` | {states.MEANINGS[state]} | {states.status(state)} |"
    assert row in (DOCS / "lifecycle.md").read_text()


@pytest.mark.parametrize("edge", states.EDGES.values(), ids=str)
def test_every_edge_has_its_row(edge: states.Edge) -> None:
    cells = (edge.name, ", ".join(edge.sources) or "–", ", ".join(edge.targets), edge.by, edge.outcome or "–")
    assert f"| {' | '.join(cells)} |" in (DOCS / "lifecycle.md").read_text()


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(JobsSettings)])
def test_every_setting_is_documented(key: str) -> None:
    assert f"`{key}`" in (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize("category", list(states.ErrorCategory))
def test_every_category_is_described_in_its_own_words(category: states.ErrorCategory) -> None:
    row = f"| `{category}` | {states.CATEGORIES[category]} | {'yes' if category in states.RETRIED else 'no'} |"
    assert row in (DOCS / "retries.md").read_text()


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(JobOptions)])
def test_every_option_is_documented(option: str) -> None:
    assert f"`{option}`" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize("field", [field.name for field in Pool._meta.fields if "retr" in field.name])
def test_every_retry_column_of_a_pool_is_documented(field: str) -> None:
    assert f"`{field}`" in (DOCS / "retries.md").read_text()


@pytest.mark.parametrize("name", [name for name in dir(JobManager) if not name.startswith(("_", "a"))])
def test_every_method_is_documented(name: str) -> None:
    assert f"`{name}(" in (DOCS / "api.md").read_text()


@pytest.mark.parametrize(
    "field", [field.name for field in Limit._meta.fields if field.editable and not field.primary_key]
)
def test_every_column_of_a_limit_is_documented(field: str) -> None:
    assert f"`{field}`" in (DOCS / "limits.md").read_text()
