# `make help` lists the targets. Variables may be set on the command line: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
DATA ?= data
LIMIT ?=
PATCHES ?= patches.h5
OVERLAY ?= $(PATCHES:.h5=.ext3)
SCENES ?=
PYTEST_ARGS ?=

# make submit: an experiment, a file of slurm/sites, one of its GPUs.
EXPERIMENT ?= paper
SITE ?= generic
DRY_RUN ?=

# make locks: anything here asks for the newest versions.
UPGRADE ?=

# Images: make image [GPU=k80 | BASE=cpu]; containers/base_images.yaml lists both. Where the machine needs
# them: CA_BUNDLE=, PROXY=, MIRROR= (Debian), TMP=, CACHE=; BUILD_ARGS= takes more of build.py.
GPU ?=
BASE ?=
CA_BUNDLE ?=
PROXY ?=
MIRROR ?=
TMP ?=
CACHE ?=
BUILD_ARGS ?=
BUILD_VENV ?= .venv-build

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD_PYTHON := $(BUILD_VENV)/bin/python
NAME := cloudmask$(if $(GPU)$(BASE),-$(GPU)$(BASE))
IMAGE := $(NAME).sif
WHEELS := build/wheels/$(NAME)
CHOICE := $(if $(GPU),--gpu $(GPU)) $(if $(BASE),--base $(BASE))

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F': ' '{printf "  make %-15s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/cpu.stamp ## the whole benchmark on synthetic scenes, on this machine's CPU, in minutes
	@PATH="$(abspath $(BIN)):$$PATH" bash app/scripts/demo.sh "$(DEMO)"

.PHONY: data
data: $(VENV)/data.stamp ## the public data set (180 GB) into data/; LIMIT=20 scenes for a try
	$(BIN)/cloudmask-data --out $(DATA) $(if $(LIMIT),--limit $(LIMIT))

.PHONY: overlay
overlay: ## PATCHES=patches.h5 (and SCENES=data/inference) into one image, patches.ext3
	@overlays/make-overlay "$(PATCHES)" --out "$(OVERLAY)" $(if $(SCENES),--scenes "$(SCENES)")

.PHONY: overlay-check
overlay-check: ## verify OVERLAY=patches.ext3, with IMAGE=cloudmask.sif also through a container
	@overlays/make-overlay --check "$(OVERLAY)" $(if $(wildcard $(IMAGE)),--container "$(IMAGE)")

.PHONY: submit
submit: $(VENV)/cpu.stamp ## prepare, train, evaluate as Slurm jobs; SITE=greene GPU=v100 EXPERIMENT=paper DRY_RUN=1
	@$(BIN)/cloudmask-grid chain $(EXPERIMENT) --site "$(SITE)" $(if $(GPU),--gpu $(GPU)) \
	  $(if $(DRY_RUN),--dry-run)

PYTEST = $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations=20

.PHONY: unit
unit: $(VENV)/dev.stamp ## the quick tests, in under two minutes; PYTEST_ARGS=
	$(PYTEST) -m "not slow" $(PYTEST_ARGS) tests/unit

.PHONY: test
test: $(VENV)/dev.stamp ## the tests, by two processes; PYTEST_ARGS=
	$(PYTEST) -m "not long" $(PYTEST_ARGS) tests

.PHONY: test-long
test-long: $(VENV)/dev.stamp ## the tests that take minutes each: grids of twelve, fifty kills, …; PYTEST_ARGS=
	$(PYTEST) -m long $(PYTEST_ARGS) tests

.PHONY: test-versions
test-versions: $(VENV)/dev.stamp ## unit and app tests on TensorFlow 2.14, 2.15, 2.17 and the newest
	bash tests/env/versions.sh

.PHONY: bench
bench: $(VENV)/cpu.stamp ## all speeds against their baselines; leave the machine alone; ONLY=epochs
	$(BIN)/python benchmarks/bench.py $(ONLY)

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## N=10000 damaged files for every reader
	$(BIN)/python tests/fuzz.py $(or $(N),10000)

.PHONY: attack
attack: $(VENV)/dev.stamp ## signals, faults, full disks … against every command: an hour, N=0.1 a tenth of it
	PYTHONPATH=tests $(BIN)/python -u -m attack $(or $(N),1) --json build/attack.json

SHELL_FILES = git ls-files -z '*.sh' '*.sbatch' .ci/run tests/stand-ins/apptainer \
  tests/stand-ins/scontrol | xargs -0
SHFMT = $(SHELL_FILES) $(BIN)/shfmt -i 2 -ci -bn

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff, import rules, shellcheck and shfmt; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SHELL_FILES) $(BIN)/shellcheck
	$(SHFMT) -d

.PHONY: docs
docs: $(VENV)/cpu.stamp ## write what documents take from the code, such as docs/configuration.md
	$(BIN)/python docs/generate.py

.PHONY: format
format: $(VENV)/dev.stamp ## lay out Python and shell as `make lint` checks it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(SHFMT) -w

# The largest set is resolved first and binds the others: they are installed one over the other.
COMPILE = $(abspath $(BIN))/uv pip compile -q --universal --python-version 3.10 --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make locks' $(if $(UPGRADE),--upgrade)
.PHONY: locks
locks: $(VENV)/dev.stamp ## pin what the app asks for, with checksums, in app/locks/; UPGRADE=1 the newest of all
	$(PIP) install uv
	cd app && $(COMPILE) pyproject.toml --extra cpu --extra data --extra check --extra fair --extra map --extra report \
	  --extra test --extra lint -o locks/dev.txt
	cd app && $(COMPILE) pyproject.toml -c locks/dev.txt --extra cpu --extra data -o locks/data.txt
	cd app && $(COMPILE) pyproject.toml -c locks/dev.txt --extra cpu -o locks/cpu.txt
	cd app && $(COMPILE) locks/crate-validator.in -o locks/crate-validator.txt
	$(COMPILE) containers/requirements.in -o containers/requirements.txt
	bash app/locks/images.sh $(abspath $(BIN))/uv $(if $(UPGRADE),--upgrade)

.PHONY: wheels
wheels: $(WHEELS)/app.txt ## the image's Python packages, downloaded and checked; GPU=, BASE= as for image

.PHONY: image
image: $(IMAGE) ## the container image for most GPUs, or with GPU=k80 (v100, p100 …), or BASE=cpu

.PHONY: image-info
image-info: $(BUILD_VENV)/stamp ## what is in the image (labels, base, sizes); GPU=, BASE= as for image
	@$(BUILD_PYTHON) containers/info.py $(IMAGE)

.PHONY: image-test
image-test: ## let the image check itself, with the GPU where there is one
	bash -c 'source slurm/lib/container.sh && container::self_test $(IMAGE)'

.PHONY: example
example: $(VENV)/cpu.stamp ## make the small model and scene of cloudmask-eval --example anew
	$(BIN)/python app/scripts/make_example.py build/example

.PHONY: dist
dist: $(VENV)/dev.stamp ## the source distribution and the wheel of the package, into build/dist/
	$(BIN)/python -m build --no-isolation --outdir build/dist app

.PHONY: clean
clean: ## remove the virtual environments, the demo and what builds leave; images stay
	rm -rf "$(VENV)" "$(DEMO)" "$(BUILD_VENV)" build

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

$(BUILD_VENV)/stamp: containers/requirements.txt
	$(PYTHON) -m venv $(BUILD_VENV)
	$(BUILD_PYTHON) -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

APP_SOURCES := $(shell find app/src app/configs -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*')

$(WHEELS)/app.txt: containers/wheels.py app/pyproject.toml $(wildcard app/locks/*.txt) $(APP_SOURCES) \
  | $(BUILD_VENV)/stamp
	$(if $(CA_BUNDLE),PIP_CERT=$(CA_BUNDLE)) $(if $(PROXY),PIP_PROXY=$(PROXY)) \
	  $(BUILD_PYTHON) containers/wheels.py $(CHOICE) --out $(WHEELS)

$(IMAGE): $(WHEELS)/app.txt containers/cloudmask.def containers/build.py containers/sources.py \
  containers/selftest.py
	$(BUILD_PYTHON) containers/build.py $(CHOICE) --wheels $(WHEELS) --out $@ \
	  $(if $(CA_BUNDLE),--ca-bundle $(CA_BUNDLE)) $(if $(PROXY),--proxy $(PROXY)) \
	  $(if $(MIRROR),--mirror $(MIRROR)) $(if $(TMP),--tmp $(TMP)) $(if $(CACHE),--cache $(CACHE)) \
	  $(BUILD_ARGS)
