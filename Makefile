# Two commands matter: `make demo` and `make test`. Both make .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# -qq: errors only.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
INSTALLED := $(VENV)/.installed
DATA ?= .data/addresses
MODEL ?=
FUZZ_CASES ?= 10000
FUZZ_SEED ?= $(shell date +%s)

# Tests use a Ray of their own on this machine, no hub, and report nothing to anyone.
TEST_ENVIRONMENT := RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 HF_HUB_OFFLINE=1
# A suite that has not ended by then has failed (seconds).
TEST_LIMIT := 2700

.DEFAULT_GOAL := help
.PHONY: help demo test lint fuzz census chaos alerts gpu tasks bench install clean
.DELETE_ON_ERROR:

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## train, track, register and serve an address parser; at most 5 minutes on 2 cores
	@$(BIN)/python -m jobs.demo

# What needs no cluster runs on both cores, a thread each; what starts one has the machine to itself.
test: lint ## the checks and the whole test suite; 45 minutes on 2 cores
	@OMP_NUM_THREADS=1 $(TEST_ENVIRONMENT) $(BIN)/python -m pytest tests/unit tests/fuzz --numprocesses=2 --dist=worksteal --session-timeout=$(TEST_LIMIT)
	@$(TEST_ENVIRONMENT) $(BIN)/python -m pytest tests/cluster --session-timeout=$(TEST_LIMIT)
	@$(TEST_ENVIRONMENT) $(BIN)/python -m pytest tests/e2e --session-timeout=$(TEST_LIMIT)

lint: $(INSTALLED) ## style, format and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

fuzz: $(INSTALLED) ## hostile configs, data, checkpoints and requests, FUZZ_CASES=10000 of each; some minutes; FUZZ_SEED=N for the same again
	@OMP_NUM_THREADS=1 $(TEST_ENVIRONMENT) FUZZ_CASES=$(FUZZ_CASES) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest tests/fuzz --exitfirst --timeout=$(TEST_LIMIT) --numprocesses=2 --dist=worksteal

census: $(INSTALLED) ## cut every architecture of transformers and write docs/models.md; some minutes
	@OMP_NUM_THREADS=1 $(TEST_ENVIRONMENT) $(BIN)/python -m tests.census

chaos: $(INSTALLED) ## 50 kills in one run, which then equals an untouched one; half an hour on 2 cores; DATA=FOLDER
	@test -e $(DATA) || $(BIN)/python -m jobs.addresses $(DATA)
	@$(TEST_ENVIRONMENT) $(BIN)/python -m jobs.chaos chaos data.path=$(DATA) --kills 50 --seed 5

alerts: $(INSTALLED) ## the cause of every alert rule, until it arrives at a webhook; some minutes; needs prometheus and alertmanager
	@cd cluster/monitoring && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml
	@OMP_NUM_THREADS=1 $(TEST_ENVIRONMENT) $(BIN)/python -m tests.alerts

gpu: $(INSTALLED) ## the tests that want a GPU, on a machine that has one
	@OMP_NUM_THREADS=1 $(TEST_ENVIRONMENT) $(BIN)/python -m pytest tests/gpu

tasks: $(INSTALLED) ## train every task's config, beside simple baselines, and write the table of docs/tasks.md; an hour
	@$(PIP) --no-deps --require-hashes -r requirements-bench.txt
	@$(TEST_ENVIRONMENT) $(BIN)/python -m tests.tasks

bench: $(INSTALLED) ## the tables of docs/benchmarks.md again; hours on 2 cores; DATA=FOLDER; MODEL=FOLDER for pruning and the load test
	@test -e $(DATA) || $(BIN)/python -m jobs.addresses $(DATA)
	@$(PIP) --no-deps --require-hashes -r requirements-bench.txt
	@$(BIN)/python -m tests.bench.throughput --data $(DATA)
	@$(BIN)/python -m tests.bench.step_time --data $(DATA)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.predicted --data $(DATA)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.uneven --data $(DATA)
	@$(BIN)/python -m tests.bench.sharing --data $(DATA)
	@$(BIN)/python -m tests.bench.data_parallel --data $(DATA)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.recovery --data $(DATA)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.checkpoints --data $(DATA)
	@$(BIN)/python -m tests.bench.f1 --data $(DATA)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.exact_loss
	@$(BIN)/python -m tests.bench.memory
	@$(BIN)/python -m tests.bench.streaming
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.planner
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.orchestration
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.transports
	@$(BIN)/python -m tests.bench.schedules
	@$(BIN)/python -m tests.bench.masking
	@test -z "$(MODEL)" || $(BIN)/python -m tests.bench.pruning $(MODEL) --data $(DATA)
	@test -z "$(MODEL)" || $(BIN)/python -m tests.bench.serving $(MODEL) --data $(DATA)
	@test -z "$(MODEL)" || $(BIN)/python -m tests.bench.elastic $(MODEL) --texts $(DATA)/test.conll
	@test -z "$(MODEL)" || $(BIN)/python -m tests.bench.unlike_workers $(MODEL) --texts $(DATA)/test.conll

install: $(INSTALLED) ## the environment .venv alone

$(INSTALLED): pyproject.toml requirements.lock requirements-demo.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Motley needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies into $(VENV): some minutes, once."
	@$(PIP) -c requirements.lock setuptools setuptools-scm wheel
	@$(PIP) -c requirements.lock --no-build-isolation -e '.[test]'
	@$(PIP) --no-deps --require-hashes -r requirements-demo.txt
	@touch $@

clean: ## remove .venv and what tools left behind; runs/ and .data/ stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find pipelines cluster jobs tests -name __pycache__ -type d -prune -exec rm -rf {} +
