# The same few words here and in CI. `make setup test lint` is the whole start.

PYTHON ?= /usr/bin/python3
PACKAGES ?= install
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup packages demo test lint soak bench lock clean

help: ## Show these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: packages .venv/.project ## Install the system packages that are missing, and make .venv with the locked versions

demo: setup ## See it work: two real guests, and one run over both
	@$(BIN)/python -m tests.demo

# Half of a test's time is waiting, for a guest or for a limit: more of them than processors.
TESTERS ?= 3

test: setup ## Run the tests; choose some with ARGS='-m "not real" -k journal'
	@$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile $(ARGS)

lint: setup ## Check style, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

HISTORIES ?= 100000
JOBS ?= 2
FIRST ?= 1

soak: setup ## Run the long tests, and live through 100000 simulated histories; HISTORIES=, FIRST= (seed), JOBS=
	@$(BIN)/python -m pytest --soak --numprocesses 2 --dist loadfile $(ARGS)
	@$(BIN)/python -m tests.simulation --histories $(HISTORIES) --first $(FIRST) --jobs $(JOBS)

bench: setup ## Measure what a guest's application feels
	@$(BIN)/python -m tests.bench

# Versions that are locked stay unless pyproject.toml asks for others; UPGRADE=--upgrade takes the newest of all.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(UPGRADE)

lock: setup ## Write the locks anew after a change of dependencies; UPGRADE=--upgrade for newer versions
	@$(LOCK) pyproject.toml --group dev --output-file requirements.lock
	@$(LOCK) --group build --constraint requirements.lock --no-annotate --output-file requirements-build.lock
	@! grep --line-number '://' requirements.lock requirements-build.lock

clean: ## Remove everything that make has made
	rm -rf .venv .lab build dist .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find orchestrator migrations tests -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is what one step leaves behind, so that a second call has nothing to do.

packages:
ifneq ($(PACKAGES),skip)
	@.ci/packages
endif

.venv/.made: | packages
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: Python 3.11 or newer is needed, PYTHON=... names one")'
	@echo 'setup: making .venv'
	@$(PYTHON) -m venv --clear .venv
	@touch $@

# libvirt-python is built here, against this machine's libvirt: first its build backend, locked like the rest. The locks
# are whole, so pip is to look for nothing else: it would stumble over `coverage[toml]` when a newer coverage is out.
.venv/.locked: requirements-build.lock requirements.lock .venv/.made
	@echo 'setup: installing the locked versions'
	@$(PIP) install --no-deps --require-hashes --requirement requirements-build.lock
	@$(PIP) install --no-deps --require-hashes --no-build-isolation --requirement requirements.lock
	@$(PIP) check
	@touch $@

.venv/.project: pyproject.toml .venv/.locked
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
