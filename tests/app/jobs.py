"""Jobs that tests submit to real workers. What a body did it notes in the ledger, with its job's id.

`tests.app.tasks` imports this module, so every worker of the tests knows these jobs.
"""

from jobs import job


@job
def probe() -> str:
    """Proves that jobs get through."""
    return "through"
