# What a person does here. `make` alone lists it.

# The distribution's own interpreter where there is one: it is what an administrator's script finds.
PYTHON ?= $(shell command -v /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
BENCH_PACKAGES := qemu-system-x86 busybox-static
LAB_PACKAGES := ipvsadm user-mode-linux kmod iproute2 iputils-arping iptables keepalived ldirectord net-tools procps systemd curl jq \
  gcc libc6-dev bash zsh fish mandoc man-db prometheus prometheus-node-exporter
# Without what they recommend, which is a lot.
CLUSTER_PACKAGES := heartbeat cluster-glue pacemaker pacemaker-cli-utils corosync resource-agents
# Modules without I/O of their own: unit tests alone cover every branch of them.
PURE := addresses api/* errors model resolver sorting text backends/memory backends/sync_daemon change/* \
	commands/connection_groups commands/doctor commands/drain commands/fallback commands/ramp commands/report commands/full_save commands/selection commands/status commands/watch completion/candidates \
	doctor/answers doctor/codes doctor/director doctor/facts doctor/fixes doctor/kernel_table doctor/probe doctor/real_server doctor/report doctor/services \
	doctor/unchecked \
	grammar/combinations grammar/help_layout grammar/hints grammar/options grammar/parser grammar/popt grammar/programs grammar/schedulers grammar/values \
	netlink/* rules/* scheduling/* views/*
space := $(subst ,, )
PURE_FILES := $(subst $(space),$(shell printf ,),$(strip $(PURE:%=pyipvsadm/%.py)))

# Where `make install` puts things; DESTDIR stands before all of it.
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/pyipvsadm
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/pyipvsadm
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
ANSIBLEDIR ?= $(PREFIX)/share/ansible/collections
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSCONFDIR ?= /etc
# What the service restores, its settings, and whether it saves what runs before it stops. Red Hat has RULES_FILE=/etc/sysconfig/ipvsadm,
# where SUSE has settings.
RULES_FILE ?= $(SYSCONFDIR)/ipvsadm.rules
SETTINGS_FILE ?= $(SYSCONFDIR)/default/ipvsadm
SAVE_ON_STOP ?= no
# A folder of our own outlives an upgrade of Python. Where it is one that the interpreter searches, launchers need not name it.
PYTHONDIR ?= $(PREFIX)/lib/pyipvsadm
INTERPRETER ?= /usr/bin/python3
COMPILE ?= yes

PROGRAMS := ipvsadm ipvsadm-save ipvsadm-restore
MODULES := $(shell find pyipvsadm -type f ! -path '*/programs/*' ! -path '*/__pycache__/*')
# For machines from which Ansible runs; those that it is for need none of it.
COLLECTION := $(shell find ansible_collections -type f ! -path '*/__pycache__/*' 2>/dev/null)
# Each file that is installed as it is, FILE:FOLDER/NAME, where FOLDER is one of the variables above; then what is made for its
# place, FOLDER/NAME. The shells look for a command's completion under its name.
COPIED := \
  $(foreach file,$(MODULES),$(file):PYTHONDIR/$(file)) \
  $(foreach file,$(COLLECTION),$(file):ANSIBLEDIR/$(file)) \
  $(foreach file,$(wildcard man/*.8),$(file):MANDIR/man8/$(notdir $(file))) \
  $(foreach file,$(wildcard man/*.5),$(file):MANDIR/man5/$(notdir $(file))) \
  $(foreach file,$(wildcard docs/*.md docs/*.svg docs/failover/*.conf docs/failover/*/* docs/recipes/*.sh),$(file):DOCDIR/$(file:docs/%=%)) \
  $(foreach file,$(wildcard completions/ipvsadm.bash),$(PROGRAMS:%=$(file):BASHDIR/%)) \
  $(foreach file,$(wildcard completions/_ipvsadm),$(file):ZSHDIR/_ipvsadm) \
  $(foreach file,$(wildcard completions/ipvsadm.fish),$(PROGRAMS:%=$(file):FISHDIR/%.fish))
UNITS := ipvsadm.service ipvsadm-metrics@.service ipvsadm-metrics@.timer
MADE := $(PROGRAMS:%=SBINDIR/%) LIBEXECDIR/service $(UNITS:%=UNITDIR/%)
FOLDERS := SBINDIR LIBEXECDIR MANDIR DOCDIR BASHDIR ZSHDIR FISHDIR ANSIBLEDIR UNITDIR PYTHONDIR RULES_FILE SETTINGS_FILE
# The shell gets the folders as they are, blanks and quotes included. What is written into scripts and units, or removed, is an
# absolute path that means the same in all of them.
SHELL_FOLDERS = set -eu; $(foreach name,DESTDIR INTERPRETER $(FOLDERS),$(name)='$(subst ','\'',$($(name)))';) \
  for name in INTERPRETER $(FOLDERS); do eval "value=\$$$$name"; case $$value in \
    [!/]* | '') echo "$$name=$$value: it must be an absolute path" >&2; exit 1 ;; \
    *[[:space:]\"\'\\\$$\`%\|\&\;\<\>\(\)]*) echo "$$name=$$value: a path without blanks, quotes and the like" >&2; exit 1 ;; \
  esac; done; \
  case '$(subst ','\'',$(SAVE_ON_STOP))' in yes | no) ;; *) echo "SAVE_ON_STOP is yes or no" >&2; exit 1 ;; esac; \
  place() { eval "echo \"\$$DESTDIR\$$$${1%%/*}/\$${1\#*/}\""; }

DEB_PACKAGES := debhelper dpkg-dev
RPM_PACKAGES := rpm
TEST_RPM_PACKAGES := $(RPM_PACKAGES) rpmlint dnf createrepo-c
TEST_DEB_PACKAGES := $(DEB_PACKAGES) lintian mmdebstrap user-mode-linux gcc libc6-dev

.PHONY: help env try test lint unit shells man test-pythons lab lab-newer lab-kernels load clusters scheduling lab-packages install uninstall \
  deb deb-packages test-deb test-swap test-all test-deb-packages rpm rpm-packages test-rpm test-rpm-packages soak fuzz guided-fuzz \
  coverage mutation record record-replies pictures bench bench-tables bench-packages clean

##@ Start here (CONTRIBUTING.md says more)
help: ## list the targets
	@awk '/^##@ / { print "\n" substr($$0, 5) ":" } \
	  match($$0, /^[a-z-]+:.*## /) { name = $$0; sub(/:.*/, "", name); printf "  make %-15s %s\n", name, substr($$0, RLENGTH + 1) }' $(MAKEFILE_LIST)

env: $(VENV)/.stamp ## build the environment (.venv)

$(VENV)/.stamp: pyproject.toml $(wildcard pyipvsadm/programs/*)
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -qq -y python3-venv; \
	  else echo "Python cannot make environments here: apt-get install python3-venv"; exit 1; fi; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

try: env ## show the main job on the embedded table (no root, no kernel module)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/try.sh

test: env lint unit shells man lab ## all tests: style, types, units, cases, shells, manual pages, and the lab (root)

# What CI has no time for. The order is that of the time they take.
test-all: test test-deb test-rpm test-swap test-pythons lab-kernels ## all of it: `make test`, packages, Pythons, kernels (root, hours)

##@ The parts of `make test`
lint: env ## style and types
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --skip B101 pyipvsadm ansible_collections  # asserts tell mypy what holds, and check no input

unit: env ## the tests that need no kernel, with the branch coverage of the pure modules
	$(BIN)/coverage run -m pytest -q tests/unit tests/contract tests/cases
	$(BIN)/coverage report --include='$(PURE_FILES)' --fail-under=100 --skip-covered

# Root installs what the lab lacks; the tests themselves say what is missing where it still does.
lab-packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(LAB_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(LAB_PACKAGES) >/dev/null; fi
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(CLUSTER_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(CLUSTER_PACKAGES) >/dev/null; \
	  if [ -d /run/systemd/system ]; then systemctl disable --quiet --now pacemaker corosync heartbeat; fi; fi

shells: env lab-packages ## the tests of completion in bash, zsh and fish
	$(BIN)/python -m pytest -q tests/shells

man: env lab-packages ## the tests of the manual pages and of the metrics, with the programs that read them
	$(BIN)/python -m pytest -q tests/man tests/monitoring

lab: env lab-packages ## the tests on a real kernel, booted as a user-mode process (root)
	$(BIN)/python -m pytest -q tests/lab

test-pythons: env test-deb-packages ## the tests that need no kernel under Python 3.9, 3.11, 3.13 and 3.14, in Debian's trees (root)
	$(BIN)/python -m tests.pythons $(SUITES)

##@ More on a real kernel (root)
SUITE ?= unstable
lab-newer: env lab-packages ## the same on the kernel of Debian's SUITE (unstable), fetched once into .lab (root)
	$(BIN)/python -m tests.lab.newer $(SUITE) $(BIN)/python -m pytest -q tests/lab/test_lab.py

KERNELS ?= bullseye bookworm trixie unstable
GUEST ?=
lab-kernels: env lab-packages ## the same on all kernels of KERNELS, Debian's 5.10, 6.1, 6.12 and newest; a table at the end (root)
	$(BIN)/python -m tests.lab.kernels $(KERNELS) $(if $(GUEST),-- -k '$(GUEST)')

load: env lab-packages ## much of everything on a real kernel, with figures: 200,000 rules, 100,000 connections (root)
	IPVSADM_LOAD=full $(BIN)/python -m tests.lab --memory 4G --timeout 3600 -- -q -s -o faulthandler_timeout=900 tests/kernel/test_load.py \
	  tests/kernel/test_history.py

clusters: env lab-packages ## two directors under heartbeat and under Pacemaker, all faults, with the seconds that each takes
	IPVSADM_CLUSTERS=full $(BIN)/python -m tests.lab --timeout 2400 -- -q -s -o faulthandler_timeout=600 tests/kernel/test_cluster.py

scheduling: env lab-packages ## the model of the schedulers against 10,000 packets or 500 sequences each, from SEED (root)
	IPVSADM_SCHEDULING=full IPVSADM_SEED=$(SEED) $(BIN)/python -m tests.lab --timeout 3600 -- \
	  -q -s -o faulthandler_timeout=900 tests/kernel/test_scheduling.py

##@ Install and package
install: ## install below PREFIX (/usr/local): commands, man pages, completions, unit (not enabled)
	@$(SHELL_FOLDERS); umask 022; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	put() { \
	  to=$$(place "$$3"); [ -d "$${to%/*}" ] || install -d -m 755 "$${to%/*}"; \
	  install -m "$$1" "$$2" "$$to.new"; mv -fT "$$to.new" "$$to"; \
	}; \
	for each in $(COPIED); do put 644 "$${each%%:*}" "$${each#*:}"; done; \
	sed "s|^SETTINGS_FILE = .*|SETTINGS_FILE = \"$$SETTINGS_FILE\"|" pyipvsadm/environment.py >"$$new/environment.py"; \
	put 644 "$$new/environment.py" PYTHONDIR/pyipvsadm/environment.py; \
	$(if $(COMPILE),"$$INTERPRETER" -Im compileall -q -s "$$DESTDIR" "$$DESTDIR$$PYTHONDIR/pyipvsadm";) \
	for name in $(PROGRAMS); do \
	  sed -e "1s|.*|#!$$INTERPRETER -IS|" -e "s|^from pyipvsadm|import sys; sys.path.append(\"$$PYTHONDIR\")\n&|" \
	    "pyipvsadm/programs/$$name" >"$$new/$$name"; put 755 "$$new/$$name" "SBINDIR/$$name"; done; \
	filled() { sed -e "s|@SBINDIR@|$$SBINDIR|; s|@LIBEXECDIR@|$$LIBEXECDIR|; s|@RULES_FILE@|$$RULES_FILE|; \
	  s|@SETTINGS_FILE@|$$SETTINGS_FILE|; s|@SAVE_ON_STOP@|$(SAVE_ON_STOP)|" "packaging/systemd/$$1" >"$$new/$$1"; }; \
	filled service.sh; put 755 "$$new/service.sh" LIBEXECDIR/service; \
	for unit in $(UNITS); do filled "$$unit"; put 644 "$$new/$$unit" "UNITDIR/$$unit"; done

uninstall: ## remove what `make install` with the same places has put there
	@$(SHELL_FOLDERS); \
	for each in $(COPIED) $(MADE); do rm -f "$$(place "$${each#*:}")"; done; \
	rm -rf "$$(place PYTHONDIR/pyipvsadm)" "$$(place ANSIBLEDIR/ansible_collections/pyipvsadm/lvs)"; \
	rmdir "$$(place ANSIBLEDIR/ansible_collections/pyipvsadm)" "$$(place DOCDIR/recipes)" \
	  "$$(place DOCDIR/failover/heartbeat)" "$$(place DOCDIR/failover/pacemaker)" "$$(place DOCDIR/failover)" "$$DESTDIR$$LIBEXECDIR" "$$DESTDIR$$DOCDIR" \
	  $(if $(filter %-packages,$(PYTHONDIR)),,"$$DESTDIR$$PYTHONDIR") 2>/dev/null || true

deb-packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(DEB_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(DEB_PACKAGES) >/dev/null; fi

deb: deb-packages ## build the Debian package: dist/pyipvsadm_*.deb
	rm -rf build/deb
	mkdir -p build/deb/source dist
	cp -R $(wildcard Makefile README.md SECURITY.md CHANGELOG.md pyipvsadm ansible_collections packaging completions man docs) build/deb/source
	mv build/deb/source/packaging/debian build/deb/source/debian
	find build/deb/source -name __pycache__ -prune -exec rm -r {} +
	cd build/deb/source && dpkg-buildpackage --build=binary --no-sign
	mv build/deb/pyipvsadm_*.deb dist

test-deb-packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(TEST_DEB_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(TEST_DEB_PACKAGES) >/dev/null; fi

test-deb: env test-deb-packages ## the Debian package in booted Debians (12, 13), beside the reference and ldirectord (root)
	$(BIN)/python -m pytest -q tests/deb/test_deb.py

test-swap: env test-deb-packages ## one package in the place of the other and back, on booted directors at work (root)
	$(BIN)/python -m pytest -q tests/deb/test_swap.py

rpm-packages:
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(RPM_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(RPM_PACKAGES) >/dev/null; fi

# The same sources give the same bytes: times and host are those of the change log.
RPM_VERSION = $(shell sed -n 's/^Version: //p' packaging/rpm/pyipvsadm.spec)
rpm: rpm-packages ## build the package for Red Hat and its kin: dist/pyipvsadm-*.noarch.rpm
	rm -rf build/rpm
	mkdir -p build/rpm/SOURCES dist
	tar -czf build/rpm/SOURCES/pyipvsadm-$(RPM_VERSION).tar.gz --transform 's|^|pyipvsadm-$(RPM_VERSION)/|' --exclude=__pycache__ \
	  Makefile LICENSE README.md CHANGELOG.md pyipvsadm ansible_collections packaging completions man docs
	rpmbuild -bb --quiet --nodeps packaging/rpm/pyipvsadm.spec --define '_topdir $(CURDIR)/build/rpm' --define '_buildhost localhost' \
	  --define 'source_date_epoch_from_changelog 1' --define 'use_source_date_epoch_as_buildtime 1' \
	  --define 'clamp_mtime_to_source_date_epoch 1'
	mv build/rpm/RPMS/noarch/pyipvsadm-*.rpm dist

test-rpm: env test-rpm-packages ## the package for Red Hat in a booted tree, in the place of the reference and back (root)
	$(BIN)/python -m pytest -q tests/rpm

test-rpm-packages: test-deb-packages
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(TEST_RPM_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(TEST_RPM_PACKAGES) >/dev/null; fi

##@ Tests that take long
STEPS ?= 10000
SEED ?= $(shell date +%s)
soak: env lab-packages ## STEPS random changes (10000) from SEED: the kernel's and the embedded table the same after each (root)
	IPVSADM_STEPS=$(STEPS) IPVSADM_SEED=$(SEED) $(BIN)/python -m tests.lab --timeout 7200 -- \
	  -q -s --tb=short -o faulthandler_timeout=0 tests/contract/test_machine.py

FUZZ ?= 600
fuzz: env ## hostile input to every reader for FUZZ seconds (600)
	$(BIN)/python -m tools.fuzz $(FUZZ)

# coverage.py starts by itself in every process of the environment's Python, in the guests too (tests/coverage.toml).
MEASURED := $(CURDIR)/.lab/coverage
coverage: export COVERAGE_PROCESS_START = $(CURDIR)/tests/coverage.toml
coverage: export COVERAGE_FILE = $(MEASURED)/data
coverage: env lab-packages ## lines and branches of the whole package that any test runs (root, about half an hour)
	rm -rf $(MEASURED)
	mkdir -p $(MEASURED)
	$(BIN)/python -m pytest -q tests/unit tests/contract tests/cases tests/shells tests/man tests/lab
	unset COVERAGE_PROCESS_START; $(BIN)/coverage combine --quiet --rcfile=tests/coverage.toml $(MEASURED)
	unset COVERAGE_PROCESS_START; $(BIN)/coverage report --rcfile=tests/coverage.toml --fail-under=97 --skip-covered

mutation: env ## small faults in the program, one at a time, each of which a test must find (MODULES; about half an hour)
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,mutation]'
	$(BIN)/python -m tools.mutation $(MODULES)

guided-fuzz: env ## the same on inputs that are made by what of the code they reach (atheris, which it installs; x86_64)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python -m tools.fuzz.guided $(FUZZ)

##@ Record, draw, measure
record: env lab-packages test-deb-packages ## ask both references again what they answer to the table of cases (root)
	$(BIN)/python -m tools.record_cases
	$(BIN)/python -m tools.record_cases newer

record-replies: env lab-packages ## record again what the lab's kernels answer, byte for byte: ours, Debian stable's and unstable's (root)
	$(BIN)/python -m tools.record_replies
	for suite in stable unstable; do $(BIN)/python -m tests.lab.newer $$suite $(BIN)/python -m tools.record_replies || exit; done

pictures: env ## draw the README's pictures and the snapshots of the views anew
	$(BIN)/python -m tools.pictures

bench-packages: lab-packages
	@if [ "$$(id -u)" = 0 ] && ! dpkg -s $(BENCH_PACKAGES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $(BENCH_PACKAGES) >/dev/null; fi

bench: env bench-packages ## ours and the reference side by side, and where our time goes (root, about an hour)
	$(BIN)/python -m tools.bench $(BENCH)

bench-tables: env bench-packages ## measure anew, and write README.md and docs/performance.md (root, about 40 minutes)
	$(BIN)/python -m tools.bench --guest q --runs 3 --write-pages

##@ Clean
clean: ## remove the environment and what the tests left
	rm -rf $(VENV) .lab build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
