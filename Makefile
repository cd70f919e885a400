# One place for every command. `make help` lists them.
SOURCE ?= synthetic
ORDERS ?= 100000
DAYS ?= 730
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The tests' Azure Blob server: one that is there already, else one beside the virtual environment.
AZURITE := $(or $(ECOMMERCE_TEST_AZURITE),$(shell command -v azurite-blob),$(VENV)/azurite/node_modules/.bin/azurite-blob)

export ECOMMERCE_SOURCE := $(SOURCE)
# `SOURCE` may be a folder outside the package: relative paths are meant from here.

.DEFAULT_GOAL := help
.PHONY: help setup azurite run test test-long test-properties test-servers lint ui bench docs clean

help:  ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  SOURCE=olist FROM=path/to/export   another shop, for run and ui (default: the generated shop)"

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found → install Python 3.11 or newer, or set PYTHON="; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed → set PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sources,notify,dev]'
	@touch $(STAMP)

setup: $(STAMP)  ## install everything into .venv and initialise DAGSTER_HOME
	@$(BIN)/ecommerce setup

azurite: $(AZURITE)  ## install Azurite, which the tests of object stores start (needs npm)

$(VENV)/azurite/node_modules/.bin/azurite-blob: | $(STAMP)
	@command -v npm >/dev/null || { echo "error: npm not found, and the tests of object stores need Azurite → install Node.js 20 or newer, or set ECOMMERCE_TEST_AZURITE to an azurite-blob"; exit 2; }
	npm install --prefix $(VENV)/azurite --no-audit --no-fund --loglevel=error azurite@3.37.0

run: setup  ## generate the sample shop (or land FROM=DIR), build everything, show the KPIs
ifdef FROM
	@$(BIN)/ecommerce land "$(FROM)" $(if $(DATE),--date $(DATE))
else ifeq ($(SOURCE),synthetic)
	@eval "$$($(BIN)/ecommerce variables)" && { [ -n "$$ECOMMERCE_RAW_URL" ] || [ -n "$$(ls "$$ECOMMERCE_DATA_DIR/raw" 2>/dev/null)" ] || $(BIN)/ecommerce generate --orders $(ORDERS) --days $(DAYS); }
endif
	@$(BIN)/ecommerce build

test: setup azurite  ## lint, types and tests (needs the real exports in ECOMMERCE_TEST_DATA, and npm)
	@$(MAKE) --no-print-directory lint
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -n auto --dist loadfile -m "not long"

test-long: test-properties test-servers  ## the property and load runs that take minutes

test-properties: setup azurite
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -n auto -m "long and not servers" --durations 20

test-servers: setup azurite
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -m "long and servers" --durations 20

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --processes 0 --disable-progress-bar ecommerce_platform/models ecommerce_platform/sources >/tmp/sqlfluff.$$$$ 2>&1 || { cat /tmp/sqlfluff.$$$$; rm -f /tmp/sqlfluff.$$$$; exit 1; }; rm -f /tmp/sqlfluff.$$$$

ui: setup  ## Dagster UI on http://127.0.0.1:3000; beside it the Data Docs that its checks link to
	@eval "$$($(BIN)/ecommerce variables)" && export PYTHONWARNINGS="ignore:Function \`dev_command\` is superseded" && \
	  { $(BIN)/ecommerce data-docs & exec $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1; }

bench: setup  ## our way beside the bare engine and pandas, as ratios
	@env -u ECOMMERCE_SOURCE $(BIN)/python -m benchmarks && env -u ECOMMERCE_SOURCE $(BIN)/python -m benchmarks.incremental && env -u ECOMMERCE_SOURCE $(BIN)/python -m benchmarks.identity

docs: setup  ## write the data dictionary and the ER diagram
	@$(BIN)/ecommerce docs

clean:  ## remove the virtual environment (never data)
	rm -rf $(VENV)
