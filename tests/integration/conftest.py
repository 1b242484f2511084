"""What needs no stack of the run, because it brings its own, runs beside the first stack only, not once for each."""

import os

from tests.services.stacks import NAME, STACKS

collect_ignore = [] if os.environ.get(NAME, STACKS[0]) == STACKS[0] else ["test_demo.py"]
