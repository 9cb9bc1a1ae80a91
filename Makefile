# What a person does here. `make` alone lists it.

# The distribution's own interpreter where there is one: it is what an administrator's script finds.
PYTHON ?= $(shell command -v /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
BENCH_PACKAGES := qemu-system-x86 busybox-static
LAB_PACKAGES := ipvsadm user-mode-linux kmod iproute2 iptables curl jq bash zsh fish
# Modules without I/O of their own: unit tests alone cover every branch of them.
PURE := argv legal popt options rules endpoint model errors wire netlink layout dumps quick trace connections memory \
	selection hints complete \
	change/keep change/drain change/plan change/desired change/carry change/rehearse change/save change/snapshot reading \
	view/*
space := $(subst ,, )
PURE_FILES := $(subst $(space),$(shell printf ,),$(strip $(PURE:%=pyipvsadm/%.py)))

.PHONY: help env try test lint unit shells lab lab-packages soak fuzz record pictures bench bench-packages clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

env: $(VENV)/.stamp ## build the environment (.venv)

$(VENV)/.stamp: pyproject.toml
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -qq -y python3-venv; \
	  else echo "Python cannot make environments here: apt-get install python3-venv"; exit 1; fi; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

try: env ## show the main job on the embedded table (no root, no kernel module)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/try.sh

test: env lint unit shells lab ## all tests: style, types, units, cases, shells, and the lab (root)

lint: env
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --skip B101 pyipvsadm  # asserts tell mypy what holds, and check no input

unit: env ## the tests that need no kernel, with the branch coverage of the pure modules
	$(BIN)/coverage run -m pytest -q tests/unit tests/contract tests/cases
	$(BIN)/coverage report --include='$(PURE_FILES)' --fail-under=100 --skip-covered

# Root installs what the lab lacks; the tests themselves say what is missing where it still does.
lab-packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(LAB_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(LAB_PACKAGES) >/dev/null; fi

shells: env lab-packages ## the tests of completion in bash, zsh and fish
	$(BIN)/python -m pytest -q tests/shells

lab: env lab-packages ## the tests on a real kernel, booted as a user-mode process (root)
	$(BIN)/python -m pytest -q tests/lab

STEPS ?= 10000
SEED ?= $(shell date +%s)
soak: env lab-packages ## STEPS random changes (10000) from SEED: the kernel's and the embedded table the same after each (root)
	IPVSADM_STEPS=$(STEPS) IPVSADM_SEED=$(SEED) $(BIN)/python -m tests.lab --timeout 7200 -- \
	  -q -s --tb=short tests/contract/test_machine.py

FUZZ ?= 600
fuzz: env ## hostile input to every reader for FUZZ seconds (600)
	$(BIN)/python -m tests.fuzz $(FUZZ)

record: env lab-packages ## ask the reference again what it answers to the table of cases (root)
	$(BIN)/python -m tests.cases.record

pictures: env ## draw the README's pictures and the snapshots of the views anew
	$(BIN)/python -m tests.pictures

bench-packages: lab-packages
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(BENCH_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(BENCH_PACKAGES) >/dev/null; fi

bench: env bench-packages ## ours and the reference side by side, and where our time goes (root, about an hour)
	$(BIN)/python -m tests.bench $(BENCH)

clean: ## remove the environment and what the tests left
	rm -rf $(VENV) .lab build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
