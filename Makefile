# The commands of this checkout. `make help` lists them. Needs Python 3.11 or newer, pip and make; nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PINS := $(shell $(PYTHON) -c 'import sys; print("constraints/py313-django61.txt" if sys.version_info >= (3, 13) else "constraints/py311-django52.txt")' 2>/dev/null)
BENCH_PINS := $(PINS:constraints/%=constraints/bench-%)
STAMP := $(VENV)/.installed-$(notdir $(PINS))
BENCH_STAMP := $(VENV)/.installed-$(notdir $(BENCH_PINS))
PIP_QUIET := -qq --disable-pip-version-check --no-input --root-user-action=ignore

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults-full large soak mutations lint bench pins

help:  ## list these commands
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "  make %-12s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make the virtual environment and install what is pinned (a no-op when nothing changed)

demo: setup  ## web page, two workers, broker and database from this one command (ONCE=1: run the work, check it, exit)
	@$(BIN)/python manage.py jobs_demo $(if $(ONCE),--once)

test: setup  ## the whole test suite (ARGS="unit -k name": a part of it; REQUIRE_SERVICES=1: nothing may be skipped)
	@$(BIN)/python -m tests.run $(ARGS)

faults-full: setup  ## every fault on every pair of database and broker, not only on the main one (ARGS="-k name")
	@JOBCENTER_TEST_FULL=1 $(BIN)/python -m tests.run faults $(ARGS)

large: setup  ## what takes a million rows: how long migrations lock, and whether work goes on beside them
	@$(BIN)/python -m tests.large $(ARGS)

soak: setup  ## mixed work while everything is killed, frozen and restarted at random (MINUTES=10 SEED=7), then the verdict
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

mutations: setup  ## take the guards away one by one, and see which test fails then (ARGS="'no steward'": one of them)
	@$(BIN)/python -m tests.mutations $(ARGS)

lint: setup  ## ruff, mypy and the order of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/lint-imports --no-logo

bench: $(BENCH_STAMP)  ## measure this project beside others, as ratios (ARGS=--quick: two minutes)
	@$(BIN)/python -m benchmarks $(ARGS)

pins:  ## resolve the pinned versions anew (needs uv on PATH)
	@for pair in 3.11/5.2 3.13/6.1; do python=$${pair%/*}; django=$${pair#*/}; \
	  echo "Django~=$$django.0" | uv pip compile --quiet --upgrade --no-header --no-annotate --python-version $$python \
	    --all-extras --group dev pyproject.toml - \
	    --output-file constraints/$$(echo py$$python-django$$django | tr -d .).txt; \
	  uv pip compile --quiet --upgrade --no-header --no-annotate --python-version $$python --group bench \
	    --constraint constraints/$$(echo py$$python-django$$django | tr -d .).txt \
	    --output-file constraints/bench-$$(echo py$$python-django$$django | tr -d .).txt; done

# pip of the new environment where Python brings one, else (Debian without python3-venv) the pip of $(PYTHON).
$(STAMP): $(PINS) Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "jobcenter needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Say PYTHON=python3.11"; exit 1; }
	@echo "Installing into $(VENV) ($(PINS)) …"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install $(PIP_QUIET) --requirement $(PINS); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install $(PIP_QUIET) --requirement $(PINS); \
	else \
	  echo "$(PYTHON) has neither ensurepip nor pip: install one of them (Debian: apt install python3-venv)"; exit 1; \
	fi
	@rm -f $(VENV)/.installed-* && touch $@

# The peers of the benchmark, beside everything else and at the same versions.
$(BENCH_STAMP): $(BENCH_PINS) $(STAMP)
	@echo "Installing into $(VENV) ($(BENCH_PINS)) …"
	@if $(BIN)/python -c 'import pip' 2>/dev/null; then $(BIN)/python -m pip install $(PIP_QUIET) --requirement $(BENCH_PINS); \
	else $(PYTHON) -m pip --python $(BIN)/python install $(PIP_QUIET) --requirement $(BENCH_PINS); fi
	@touch $@
