# Two commands on a fresh machine do everything: `make up` and `make test`.
CONFIG ?= tocsin.yaml
FAULT ?=
TESTS ?= tests
JOBS ?= 2
UV := ./scripts/uv
TOCSIN := $(UV) run --frozen --quiet --no-dev tocsin
DEV := $(UV) run --frozen --quiet

.PHONY: up down reload status clean break heal test lint format render bench help

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## start the whole stack (containers where an engine answers, processes otherwise)
	@$(UV) sync --frozen --quiet --no-dev --inexact
	@$(TOCSIN) up --config $(CONFIG)

down: ## stop everything, keep the data
	@$(TOCSIN) down --config $(CONFIG)

reload: ## apply what changed in the settings
	@$(TOCSIN) reload --config $(CONFIG)

status: ## the health of each part
	@$(TOCSIN) status --config $(CONFIG)

clean: ## delete the data (asks first)
	@$(TOCSIN) clean --config $(CONFIG)

break: ## put a fault on the demo: make break FAULT=worker-stopped (without FAULT: list them)
	@$(TOCSIN) break --config $(CONFIG) $(FAULT)

heal: ## take every fault off the demo
	@$(TOCSIN) heal --config $(CONFIG)

test: lint ## everything: lint, unit, contract, rules, configuration, real servers, the whole chain
	@$(DEV) python scripts/test_programs.py
	@$(DEV) pytest -n $(JOBS) --dist loadfile $(TESTS)

lint: ## formatter, linter, types, import rules
	@$(UV) sync --frozen --quiet
	@$(DEV) ruff format --check .
	@$(DEV) ruff check .
	@$(DEV) mypy
	@$(DEV) lint-imports

format: ## let the formatter and the linter mend what they can
	@$(DEV) ruff check --fix --quiet . || true
	@$(DEV) ruff format .

render: ## write the generated files of the committed settings
	@$(DEV) tocsin render

bench: ## measure, beside the peers that can run here
	@$(UV) sync --frozen --quiet
	@$(DEV) python scripts/test_programs.py
	@$(DEV) python bench/run.py
