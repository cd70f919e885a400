# One place for every command. `make help` lists them.
SOURCE ?= synthetic
ORDERS ?= 100000
DAYS ?= 730
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What running takes, and what developing takes besides: `make run` on a fresh clone does not wait for linters and test servers.
EXTRAS := sources,notify
CORE := $(VENV)/.installed-core
SERVE := $(VENV)/.installed-serve
STAMP := $(VENV)/.installed
comma := ,
# The tests' Azure Blob server: one that is there already, else one beside the virtual environment.
AZURITE := $(or $(ECOMMERCE_TEST_AZURITE),$(shell command -v azurite-blob),$(VENV)/azurite/node_modules/.bin/azurite-blob)

# Some environments ask Python to keep no bytecode: every command would compile Dagster anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE
export ECOMMERCE_SOURCE := $(SOURCE)
# `SOURCE` may be a folder outside the package: relative paths are meant from here.

.DEFAULT_GOAL := help
.PHONY: help setup azurite run test test-shops test-long test-properties test-servers lint ui dashboard api bench docs clean

help:  ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  SOURCE=olist FROM=path/to/export   another shop, for run and ui (default: the generated shop)"

# Installs the package with these extras under constraints.txt: with uv where it is installed or can be, else with pip,
# which takes some ten times as long. A virtual environment made without pip needs no ensurepip as long as there is uv.
define install
@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found → install Python 3.11 or newer, or set PYTHON="; exit 2; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, and $(PYTHON) is older → set PYTHON=python3.11"; exit 2; }
@[ -x $(BIN)/python ] || $(PYTHON) -m venv --without-pip $(VENV) || { echo "error: $(PYTHON) cannot make a virtual environment → install its venv module (Debian: apt-get install python3-venv)"; exit 2; }
@with_uv() { "$$1" --version >/dev/null 2>&1 && "$$1" pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(1)]'; }; \
with_pip() { $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$@"; }; \
echo "installing into $(VENV) …"; \
with_uv uv || with_uv $(BIN)/uv || { \
  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null 2>&1 || { echo "error: $(PYTHON) has no pip to install with (no ensurepip), and there is no uv that works → apt-get install python3-venv, or install uv (https://docs.astral.sh/uv)"; exit 2; }; \
  { with_pip uv && with_uv $(BIN)/uv; } || with_pip -e '.[$(1)]'; }
endef

$(CORE): pyproject.toml constraints.txt
	$(call install,$(EXTRAS))
	@touch $@

$(SERVE): pyproject.toml constraints.txt
	$(call install,$(EXTRAS)$(comma)serve)
	@touch $(CORE) $@

$(STAMP): pyproject.toml constraints.txt
	$(call install,$(EXTRAS)$(comma)serve$(comma)dev)
	@touch $(CORE) $(SERVE) $@

setup: $(STAMP)  ## install everything into .venv and initialise DAGSTER_HOME
	@$(BIN)/ecommerce setup

azurite: $(AZURITE)  ## install Azurite, which the tests of object stores start (needs npm)

$(VENV)/azurite/node_modules/.bin/azurite-blob: | $(STAMP)
	@command -v npm >/dev/null || { echo "error: npm not found, and the tests of object stores need Azurite → install Node.js 20 or newer, or set ECOMMERCE_TEST_AZURITE to an azurite-blob"; exit 2; }
	npm install --prefix $(VENV)/azurite --no-audit --no-fund --loglevel=error azurite@3.37.0

run: $(CORE)  ## generate the sample shop (or land FROM=DIR), build everything, show the KPIs, publish
ifdef FROM
	@$(BIN)/ecommerce land "$(FROM)" $(if $(DATE),--date $(DATE))
else ifeq ($(SOURCE),synthetic)
	@eval "$$($(BIN)/ecommerce variables)" && { [ -n "$$ECOMMERCE_RAW_URL" ] || [ -n "$$(ls "$$ECOMMERCE_DATA_DIR/raw" 2>/dev/null)" ] || $(BIN)/ecommerce generate --orders $(ORDERS) --days $(DAYS); }
endif
	@$(BIN)/ecommerce build; built=$$?; case $$built in 0|3) $(BIN)/ecommerce publish || exit $$?;; esac; exit $$built

test: $(STAMP)  ## lint, types and tests; what this machine has nothing to test with is named at the end
	@$(MAKE) --no-print-directory lint
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -n logical --dist loadfile --no-loadscope-reorder -m "not long and not shops"

test-shops: $(STAMP)  ## tests of whole shops, with real exports, object stores and database servers where they are
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -n logical --dist loadfile --no-loadscope-reorder -m "shops and not long"

test-long: test-properties test-servers  ## the property and load runs that take minutes

test-properties: $(STAMP)
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -n auto -m "long and not servers" --durations 20

test-servers: $(STAMP)
	@env -u ECOMMERCE_SOURCE $(BIN)/pytest -m "long and servers" --durations 20

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache >/tmp/imports.$$$$ 2>&1 || { cat /tmp/imports.$$$$; rm -f /tmp/imports.$$$$; exit 1; }; rm -f /tmp/imports.$$$$
	@$(BIN)/sqlfluff lint --processes 0 --disable-progress-bar ecommerce_platform/models ecommerce_platform/sources >/tmp/sqlfluff.$$$$ 2>&1 || { cat /tmp/sqlfluff.$$$$; rm -f /tmp/sqlfluff.$$$$; exit 1; }; rm -f /tmp/sqlfluff.$$$$

ui: $(CORE)  ## Dagster UI on http://127.0.0.1:3000; beside it the Data Docs that its checks link to
	@$(BIN)/ecommerce data-docs & exec $(BIN)/ecommerce ui

dashboard: $(SERVE)  ## the dashboard on http://127.0.0.1:8501; prints a link that signs this browser in
	@exec $(BIN)/ecommerce dashboard

api: $(SERVE)  ## the API on http://127.0.0.1:8000: the published figures for programs
	@exec $(BIN)/ecommerce api

bench: $(STAMP)  ## our way beside the bare engine and pandas, as ratios
	@for what in benchmarks benchmarks.first_minutes benchmarks.incremental benchmarks.identity; do env -u ECOMMERCE_SOURCE $(BIN)/python -m $$what || exit 1; done

docs: $(CORE)  ## write the data dictionary, the metrics and the ER diagram
	@$(BIN)/ecommerce docs

clean:  ## remove the virtual environment (never data)
	rm -rf $(VENV)
