# make help tells what there is. Variables may be set on the command line: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F': ' '{printf "  make %-15s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/cpu.stamp ## the whole benchmark on synthetic scenes, on this machine's CPU, in minutes
	@PATH="$(abspath $(BIN)):$$PATH" bash app/demo.sh "$(DEMO)"

.PHONY: test
test: $(VENV)/dev.stamp ## all tests
	$(BIN)/python -m pytest tests $(PYTEST_ARGS)

.PHONY: test-versions
test-versions: $(VENV)/dev.stamp ## unit and app tests on TensorFlow 2.14, 2.15, 2.17 and the newest
	bash tests/env/versions.sh

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## N=10000 damaged files for every reader
	$(BIN)/python tests/fuzz.py $(or $(N),10000)

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files '*.sh' .ci/run | xargs $(BIN)/shellcheck

.PHONY: locks
locks: $(VENV)/dev.stamp ## pin the newest dependencies, with checksums, in app/locks/
	$(PIP) install uv
	cd app && ../$(BIN)/uv pip compile -q --universal --upgrade --python-version 3.10 \
	  --generate-hashes --custom-compile-command 'make locks' \
	  --extra cpu pyproject.toml -o locks/cpu.txt
	cd app && ../$(BIN)/uv pip compile -q --universal --python-version 3.10 \
	  --generate-hashes --custom-compile-command 'make locks' -c locks/cpu.txt \
	  --extra cpu --extra test --extra lint pyproject.toml -o locks/dev.txt

.PHONY: clean
clean: ## remove the virtual environment and the demo
	rm -rf "$(VENV)" "$(DEMO)"

$(VENV)/cpu.stamp: app/locks/cpu.txt app/pyproject.toml
	@echo "installing Python packages into $(VENV) (about 250 MB to download, once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r app/locks/cpu.txt
	$(PIP) install --no-deps --no-build-isolation -e app
	@touch $@

$(VENV)/dev.stamp: $(VENV)/cpu.stamp app/locks/dev.txt
	@echo "installing what the tests need into $(VENV)"
	$(PIP) install --require-hashes -r app/locks/dev.txt
	@touch $@
