# make help tells what there is. Variables may be set on the command line: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
DATA ?= data
LIMIT ?=
PATCHES ?= patches.h5
OVERLAY ?= $(PATCHES:.h5=.ext3)
SCENES ?=
IMAGE ?= $(wildcard cloudmask.sif)
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
	@PATH="$(abspath $(BIN)):$$PATH" bash app/demo.sh $(DEMO)

.PHONY: data
data: $(VENV)/data.stamp ## the public data set (180 GB) into data/; LIMIT=20 scenes for a try
	$(BIN)/cloudmask-data --out $(DATA) $(if $(LIMIT),--limit $(LIMIT))

.PHONY: overlay
overlay: ## PATCHES=patches.h5 (and SCENES=data/inference) into one image, patches.ext3
	@overlays/make-overlay "$(PATCHES)" --out "$(OVERLAY)" $(if $(SCENES),--scenes "$(SCENES)")

.PHONY: overlay-check
overlay-check: ## verify OVERLAY=patches.ext3, with IMAGE=cloudmask.sif also through a container
	@overlays/make-overlay --check "$(OVERLAY)" $(if $(IMAGE),--container "$(IMAGE)")

.PHONY: test
test: $(VENV)/dev.stamp ## all tests
	$(BIN)/python -m pytest tests $(PYTEST_ARGS)

.PHONY: test-versions
test-versions: $(VENV)/dev.stamp ## unit and app tests on TensorFlow 2.14, 2.15, 2.17 and the newest
	bash tests/env/versions.sh

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files '*.sh' .ci/run | xargs $(BIN)/shellcheck

# The largest set is resolved first and binds the others: they are installed one over the other.
COMPILE = ../$(BIN)/uv pip compile -q --universal --python-version 3.10 --generate-hashes \
  --custom-compile-command 'make locks' pyproject.toml
.PHONY: locks
locks: $(VENV)/dev.stamp ## pin the newest dependencies, with checksums, in app/locks/
	$(PIP) install uv
	cd app && $(COMPILE) --upgrade --extra cpu --extra data --extra test --extra lint -o locks/dev.txt
	cd app && $(COMPILE) -c locks/dev.txt --extra cpu --extra data -o locks/data.txt
	cd app && $(COMPILE) -c locks/dev.txt --extra cpu -o locks/cpu.txt

.PHONY: clean
clean: ## remove the virtual environment and the demo
	rm -rf $(VENV) $(DEMO)

$(VENV)/cpu.stamp: app/locks/cpu.txt app/pyproject.toml
	@echo "installing Python packages into $(VENV) (about 250 MB to download, once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r app/locks/cpu.txt
	$(PIP) install --no-deps --no-build-isolation -e app
	@touch $@

$(VENV)/data.stamp: $(VENV)/cpu.stamp app/locks/data.txt
	@echo "installing the S3 client into $(VENV)"
	$(PIP) install --require-hashes -r app/locks/data.txt
	@touch $@

$(VENV)/dev.stamp: $(VENV)/cpu.stamp app/locks/dev.txt
	@echo "installing what the tests need into $(VENV)"
	$(PIP) install --require-hashes -r app/locks/dev.txt
	@touch $@
