# Bear Alarm: `make help` lists what there is. Nothing here touches the system or needs root.

# The first Python that is new enough; PYTHON=/path/to/python names another.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$each" && break; done)

# REQUIRE="ffmpeg": a test that needs ffmpeg and does not find it fails. REQUIRE=all: nothing may be skipped
# (but for the folder of pictures, which is demanded by name: REQUIRE="all pictures").
REQUIRE ?=
TESTS ?=
MARKS ?= not slow
EXTRAS ?=
CHECK ?=

HOME_VENV := $(HOME)/.local/share/bear-alarm/venv
BIN := $(HOME)/.local/bin
PACKAGE := pyproject.toml README.md LICENSE $(shell find train export edge -path edge/phone/web -prune -o -type f ! -path '*/__pycache__/*' ! -name '.*' -print)

# The web app's own tests run where npm is.
WEB := edge/phone/web
NPM := $(shell command -v npm)

# Four workers on two cores: much of a test is waiting. The slowest are listed.
PYTEST = pytest -n 4 --dist loadgroup --durations=25 --durations-min=2

.PHONY: help demo test test-all test-web prove benchmarks docs phone-app test-edge install uninstall clean check-python

help:
	@echo 'make demo        the alarm on the bundled clip, in an environment of its own (no torch)'
	@echo 'make test        ruff, mypy and every quick test, in .venv: some minutes (the first time it brings torch)'
	@echo 'make test-all    every test: brokers, browsers, notebooks, kill -9 (REQUIRE="ffmpeg" or REQUIRE=all forbids skips)'
	@echo 'make test-web    the types and tests of the web app for phones (node 20 and npm; part of `make test` where they are)'
	@echo 'make prove       what takes longer than a test, measured on this machine, as docs/proofs.md keeps it'
	@echo 'make benchmarks  a frame in our loop, and in what people would use instead (brings torch and ultralytics, AGPL-3.0, apart)'
	@echo 'make docs        the documents as a site with search, in site/'
	@echo 'make phone-app   the web app for phones, built with node and npm into edge/phone/app (CHECK=--check: compares only)'
	@echo 'make test-edge   the quick tests of what runs on the device, without torch: fit for a Raspberry Pi (MARKS= for all)'
	@echo 'make install     puts `bear-alarm` on your PATH (EXTRAS=train to make models too)'
	@echo 'make uninstall   takes it away again'
	@echo 'make clean       removes the environments and caches made here'

demo: .venv-demo/.ready
	@.venv-demo/bin/bear-alarm watch demo --evidence evidence/demo

define tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(if $(NPM),$(MAKE) --no-print-directory test-web,@echo 'npm is not installed: the web app for phones is tested without its own tests')
	BEAR_ALARM_REQUIRE='$(REQUIRE)' .venv/bin/$(PYTEST)
endef

test: .venv/.ready
	$(tests) -m 'not slow' $(TESTS)

# What watches in real time runs last and alone. Exit code 5: TESTS names none of these.
test-all: .venv/.ready
	$(tests) -m 'not alone' $(TESTS)
	BEAR_ALARM_REQUIRE='$(REQUIRE)' .venv/bin/pytest -m alone $(TESTS) || test $$? -eq 5

test-web: $(WEB)/node_modules/.package-lock.json
	cd $(WEB) && npm run --silent check && npm test --silent

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-progress --silent
	@touch $@

prove: .venv/.ready
	@for each in tests/proofs/prove_*.py; do echo; .venv/bin/python "$$each" || exit 1; done

# ultralytics is AGPL-3.0: it has an environment of its own, and only writes the peers' networks.
benchmarks: .venv/.ready
	"$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/pip install -q -r benchmarks/requirements.txt
	.venv-peers/bin/python benchmarks/export_peers.py .venv-peers/networks
	.venv/bin/python benchmarks/compare.py .venv-peers/networks --plot docs/benchmarks.svg

docs: .venv/.ready
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict

phone-app: .venv/.ready
	.venv/bin/python tests/helpers/make_phone_app.py $(CHECK)

test-edge: .venv-edge/.ready
	.venv-edge/bin/ruff check .
	.venv-edge/bin/mypy edge
	BEAR_ALARM_REQUIRE='$(REQUIRE)' .venv-edge/bin/$(PYTEST) -m '$(MARKS)' $(or $(TESTS),$(addprefix tests/,tools camera detect decide record alert device config cli alarm batch phone test_package.py test_species.py))

# An environment is made once, and again when what it was made from changes.
define venv
	@$(MAKE) --no-print-directory check-python PYTHON='$(PYTHON)'
	@'$(1)/bin/python' -c 'import pip' 2>/dev/null || '$(PYTHON)' -m venv --clear '$(1)'
	@echo "Installing $(2) into $(1) ($(3)) …"
	@'$(1)/bin/python' -m pip install --quiet --disable-pip-version-check $(2)
endef

# A real install, not an editable one: the demo proves what a wheel carries.
.venv-demo/.ready: $(PACKAGE)
	$(call venv,.venv-demo,.,once; about 150 MB to fetch)
	@touch $@

.venv/.ready: pyproject.toml edge/version.py
	$(call venv,.venv,-e '.[dev]',once; torch is large: this takes minutes)
	@touch $@

.venv-edge/.ready: pyproject.toml edge/version.py
	$(call venv,.venv-edge,-e '.[dev-edge]',once; about 180 MB to fetch)
	@touch $@

check-python:
	@test -n '$(PYTHON)' || { \
	  echo 'Python 3.11 or newer was not found (Debian 12, Raspberry Pi OS Bookworm and Ubuntu 24.04 have it). Install it with:'; \
	  echo '    sudo apt install python3 python3-venv'; \
	  echo 'or name one: make PYTHON=/path/to/python3.11'; exit 1; } >&2
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo '$(PYTHON) is not a Python of 3.11 or newer; name another: make PYTHON=/path/to/python3.11'; exit 1; } >&2
	@'$(PYTHON)' -c 'import struct, sys; sys.exit(struct.calcsize("P") != 8)' || { \
	  echo '$(PYTHON) is a 32-bit Python, and onnxruntime comes for 64 bits only: install the 64-bit Raspberry Pi OS.'; exit 1; } >&2
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make a virtual environment. Install what is missing with:'; \
	  echo '    sudo apt install $(notdir $(PYTHON))-venv'; exit 1; } >&2

install:
	@if command -v pipx >/dev/null; then \
	  pipx install --force '.$(if $(EXTRAS),[$(EXTRAS)])'; \
	else \
	  $(MAKE) --no-print-directory install-without-pipx; \
	fi
	@case ":$$PATH:" in \
	  *':$(BIN):'*) echo 'Done. Try: bear-alarm watch demo';; \
	  *) echo 'Done, but $(BIN) is not on your PATH. Log in again, or add it now:'; \
	     echo '    export PATH="$(BIN):$$PATH"'; \
	     echo 'Then try: bear-alarm watch demo';; \
	esac

.PHONY: install-without-pipx
install-without-pipx:
	@mkdir -p '$(dir $(HOME_VENV))' '$(BIN)'
	$(call venv,$(HOME_VENV),'.$(if $(EXTRAS),[$(EXTRAS)])',pipx is not installed)
	@ln -sfn '$(HOME_VENV)/bin/bear-alarm' '$(BIN)/bear-alarm'

uninstall:
	@if command -v pipx >/dev/null && pipx list --short 2>/dev/null | grep -q '^bear-alarm '; then pipx uninstall bear-alarm; fi
	@case "$$(readlink '$(BIN)/bear-alarm' 2>/dev/null)" in '$(HOME_VENV)'/*) rm -f '$(BIN)/bear-alarm';; esac
	@rm -rf '$(dir $(HOME_VENV))'

clean:
	rm -rf .venv .venv-demo .venv-edge $(WEB)/node_modules site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist evidence/demo
	find train export edge tests -name __pycache__ -type d -prune -exec rm -rf {} +
