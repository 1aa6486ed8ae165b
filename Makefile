# Everything Mailstead needs on Debian 12 beside git and python3:
#   make run [DATA=dir]   set up and start the demonstration on loopback
#   make test             set up and run the tests
#   make lint             ruff, mypy, import-linter
#   make bench            measure ourselves
#   make soak             the long tests

SHELL := /bin/bash
PYTHON ?= python3
DATA ?= demo-data
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.mailstead-set-up

TEST_COMMANDS := swaks mbsync mutt fetchmail curl dovecot sieve-connect php lftp fusermount3
TEST_PACKAGES := swaks isync mutt fetchmail curl dovecot-imapd sieve-connect php-cli lftp fuse3

.PHONY: run test lint bench soak set-up bytecode test-programs clean

run: set-up bytecode
	@exec $(BIN)/python -m mailstead demo --data "$(DATA)"

test: set-up test-programs bytecode
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: set-up bytecode
	$(BIN)/python bench/mime.py
	$(BIN)/python -m bench.compare

soak: set-up test-programs bytecode
	MAILSTEAD_CUTS=1000 MAILSTEAD_CRASHES=5 $(BIN)/python -m pytest -n $(JOBS) tests/store/test_power_cut.py tests/store/test_crash.py
	MAILSTEAD_CRASHES=30 MAILSTEAD_SESSION_ROUNDS=20 MAILSTEAD_HOSTILE_ROUNDS=20 \
	  $(BIN)/python -m pytest tests/process/test_qresync_crash.py tests/imap/test_multi_session.py \
	  tests/imap/test_multi_session_shared.py tests/imap/test_hostile.py
	MAILSTEAD_CRASHES=30 $(BIN)/python -m pytest --timeout 1200 tests/migration/test_crash.py
	MAILSTEAD_EVERY_CONTEXT=1 $(BIN)/python -m pytest -n $(JOBS) tests/admin_cli/test_help_and_rights.py
	$(BIN)/python -m pytest -m soak -s --timeout 14400 tests

# A linked or borrowed environment is used as it is; one of our own is made and follows the lock file.
set-up:
	@set -e; \
	if [ -L $(VENV) ]; then \
	  $(BIN)/python -c 'import mailstead' || { echo "$(VENV) is a link to an environment without Mailstead" >&2; exit 1; }; \
	  exit 0; \
	fi; \
	wanted=$$(cat requirements-dev.lock pyproject.toml | sha256sum); \
	if [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" = "$$wanted" ]; then exit 0; fi; \
	if [ ! -x $(BIN)/pip ]; then \
	  rm -rf $(VENV); \
	  if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	      apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; \
	    else echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; fi; \
	  fi; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed" >&2; exit 1; }; \
	  echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); \
	fi; \
	echo "Installing what requirements-dev.lock names ..."; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements-dev.lock; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	printf '%s\n' "$$wanted" > $(STAMP)

# Python may have been told to write no bytecode; a start that compiles every module takes twice as long.
bytecode: set-up
	@$(BIN)/python -m compileall -q src

# Servers among the programs are not started by their installation: the tests start their own.
test-programs:
	@missing=""; PATH="$$PATH:/usr/sbin"; for name in $(TEST_COMMANDS); do command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  policy=/usr/sbin/policy-rc.d; quiet=""; \
	  if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 755 $$policy; quiet=yes; fi; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(TEST_PACKAGES); \
	  status=$$?; if [ -n "$$quiet" ]; then rm -f $$policy; fi; exit $$status; \
	else \
	  echo "The tests with real clients need:$$missing" >&2; \
	  echo "Install them with: apt-get install $(TEST_PACKAGES)" >&2; exit 1; \
	fi

clean:
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	[ -L $(VENV) ] || rm -rf $(VENV)
