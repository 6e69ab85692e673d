# Set-up happens by itself: `make demo` starts the product, `make test` tests it, `make dev` starts it again with
# each change of a file, `make archive` packs it. Variables: PYTHON, PORT, DATA, HOST, CHROMIUM;
# of `make test`: TESTERS; of `make archive`: DIST; of `make bench`: ROUNDS, SECONDS, GROWTH, MODE, SIZES; of `make long`: STEPS;
# of `make screenshots`: SCENES; of `make fuzz`: EXAMPLES.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url
# One more than a small machine has cores: they wait as often as they work.
TESTERS ?= 3
EXAMPLES ?= 1000
# Named for the version, which only pyproject.toml holds.
DIST ?= dist
# Else each process that a test or the demo starts would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE
RELEASE = plumbline-$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# What the demo and the image have.
EXTRAS := --extra demo --extra clickhouse --extra forecast
# The locks name all that is needed, so nothing is looked up; what is imported is compiled then.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --requirement
# uv takes a fifth of pip's time. Where it reaches no index, pip installs: it may know another one.
UV := UV_HTTP_TIMEOUT=15 $(BIN)/uv pip install --quiet --no-deps --no-cache --python $(BIN)/python \
	$${PIP_INDEX_URL:+--default-index "$$PIP_INDEX_URL"} --requirement
define INSTALL
@echo "Installing the packages, once: this takes a minute."
@umask 022 && sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock >$(VENV)/uv.lock && \
	$(PIP) $(VENV)/uv.lock && $(UV) $(1) || { echo "uv could not install them: pip does, in some minutes."; $(PIP) $(1); }
endef

.PHONY: demo dev archive test coverage screenshots faults long fuzz bench lint lock clean browser wrk

# exec: signals reach the supervisor itself. --parent: it also stops when make is killed.
demo: $(VENV)/demo.stamp
	@exec $(BIN)/python manage.py demo --parent $$PPID

# The demo with .env as its settings and data of its own in .dev; changed files restart it.
dev: $(VENV)/demo.stamp
	@exec $(BIN)/python manage.py demo --reload --parent $$PPID

# The last commit, with docs/install.md on top as INSTALL.md, its links made to fit. Equal commits make equal bytes.
archive:
	@above=$$(git rev-parse --show-prefix) && test -z "$$above" || { \
		echo "make archive packs the last commit, so it needs a git checkout, and this folder is none." >&2; \
		exit 1; }
	@mkdir -p "$(DIST)"
	@git show HEAD:docs/install.md | sed -e 's|](\([^)]\)|](docs/\1|g' -e 's|](docs/\.\./|](|g' >"$(DIST)/INSTALL.md"
	@git -c tar.umask=0022 archive --format=tar.gz --prefix=$(RELEASE)/ --add-file="$(DIST)/INSTALL.md" \
		--output="$(DIST)/$(RELEASE).tar.gz" HEAD
	@rm "$(DIST)/INSTALL.md"
	@echo "$(DIST)/$(RELEASE).tar.gz"

# TESTERS processes share the test files, long ones first, each with servers of its own.
PYTEST = pytest --numprocesses=$(TESTERS) --dist=loadfile --no-loadscope-reorder
test: $(VENV)/dev.stamp browser
	$(BIN)/python -m $(PYTEST)

# As `make test`; measures the branch coverage of the tests and of the web servers and commands that they start.
coverage: $(VENV)/dev.stamp browser
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Every page of a new demo, wide and narrow, light and dark, to docs/screenshots/; SCENES names some of them.
screenshots: $(VENV)/dev.stamp browser
	@DJANGO_SETTINGS_MODULE=config.settings PLUMBLINE_DEMO=1 $(BIN)/python -m tests.pages.gallery.take $(SCENES)

# 20 rounds of kill -9 under load, and 20 of calculations; a lost or doubled reading or run fails it.
faults: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --quiet --capture=no tests/faults/durability.py tests/faults/calculations.py

# 10,000 random steps of writing, building, correcting and asking; each answer is compared with PostgreSQL's.
long: $(VENV)/dev.stamp
	$(BIN)/python -m pytest --quiet --capture=no tests/faults/interleaving.py

# 1,000 generated requests of every operation; what the answers are is compared with the OpenAPI document.
fuzz: $(VENV)/dev.stamp
	EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --quiet tests/openapi/test_contract.py

# The portal beside what one would build instead; writes docs/benchmarks.md.
bench: $(VENV)/demo.stamp $(BENCH)/bench.stamp wrk
	@$(BIN)/python -m tests.bench

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	PLUMBLINE_DEMO=1 $(BIN)/mypy

lock: $(VENV)/dev.stamp
	$(COMPILE) $(EXTRAS) pyproject.toml -o requirements.lock
	$(COMPILE) $(EXTRAS) --group dev pyproject.toml -o requirements-dev.lock -c requirements.lock
	$(COMPILE) tests/bench/requirements.in -o tests/bench/requirements.lock

# The data of the demo (.demo) and of the development server (.dev) stay.
clean:
	rm -rf $(VENV) $(BENCH) dist .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# umask: run by root, PostgreSQL runs as another user, who must be able to read its programs.
$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not: set PYTHON, as in make PYTHON=python3.12" >&2; \
		exit 1; }
	umask 022 && $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: requirements.lock $(VENV)/python.stamp
	$(call INSTALL,requirements.lock)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/python.stamp
	$(call INSTALL,requirements-dev.lock)
	@touch $@ $(VENV)/demo.stamp

$(BENCH)/bench.stamp: tests/bench/requirements.lock
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Some tests drive a real browser. The headless shell opens a page in a fourth of the time that Chromium takes.
browser:
	@for name in "$${CHROMIUM:-chromium-headless-shell}" chromium-headless-shell chromium chromium-browser google-chrome; do \
		command -v "$$name" >/dev/null 2>&1 && exit 0; \
	done; \
	as_root=; test "$$(id -u)" = 0 || as_root="sudo -n"; \
	if command -v apt-get >/dev/null 2>&1 && $$as_root true 2>/dev/null; then \
		echo "Installing Chromium for the browser tests"; \
		$$as_root apt-get update -qq >/dev/null && \
		for name in chromium-headless-shell chromium; do \
			$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y $$name >/dev/null && exit 0; \
		done; \
	fi; \
	echo "The browser tests need Chromium: install chromium-headless-shell, chromium or google-chrome, or set" \
		"CHROMIUM to its path." >&2; \
	exit 1

# It puts the load on the bench.
wrk:
	@command -v wrk >/dev/null 2>&1 && exit 0; \
	as_root=; test "$$(id -u)" = 0 || as_root="sudo -n"; \
	if command -v apt-get >/dev/null 2>&1 && $$as_root true 2>/dev/null; then \
		echo "Installing wrk for the bench"; \
		$$as_root apt-get update -qq >/dev/null && \
		$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y wrk >/dev/null && exit 0; \
	fi; \
	echo "The bench needs wrk (its package has that name nearly everywhere): install it." >&2; \
	exit 1
