# `make demo` and `make test` do all their own set-up; a second run is quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BACKENDS := $(VENV)/.backends
PHOENIX := .sdk/phoenix
FORMATS := $(VENV)/.formats
SPEEDSCOPE := $(VENV)/speedscope
SCHEMAS := $(VENV)/schemas
OLDEST := .sdk/oldest
SILENT := .sdk/silent
BESIDE := .sdk/beside
PYTHONS ?= 3.11 3.13
EXAMPLES := .sdk/examples
FRAMEWORKS := .sdk/frameworks
FRAMEWORKS_2 := .sdk/frameworks-openai2
OPENTELEMETRY := $(foreach set,oldest newest mixed,.sdk/opentelemetry-$(set)/.ready)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-programs test-sdks test-opentelemetry test-frameworks test-pythons test-backends test-formats backends stack screenshots check fuzz bench build requirements clean help

help:  ## say what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(READY)  ## run the example agent with the plugin on, then explain its trace
	@rm -f causepath-traces.jsonl
	$(BIN)/python examples/traced_research_agent.py
	$(BIN)/causepath causepath-traces.jsonl

test: $(READY)  ## all tests but those of the groups below
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-sdks: $(READY) $(OLDEST)/.ready $(SILENT)/.ready  ## the plugin's tests against the oldest SDKs, and the last one without spans of its own
	for sdk in $(OLDEST) $(SILENT); do \
	  PYTHONPATH=$$sdk $(BIN)/python -m pytest -n 2 --dist worksteal tests/plugin tests/contract \
	    -m "not (slow or backends or formats or frameworks or hosts or opentelemetry or screenshots)" \
	    --ignore tests/plugin/test_ways_in.py --ignore tests/plugin/test_beside.py --ignore tests/plugin/test_safety.py --ignore tests/plugin/test_soak.py -k "not really_saves" || exit 1; \
	done

test-programs: $(READY)  ## commands in processes of their own: pipes, helpers, signals, shells, examples
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "programs and not slow"

test-opentelemetry: $(READY) $(OPENTELEMETRY)  ## the plugin and its extras with the oldest, the newest and a mixed OpenTelemetry
	$(BIN)/python -m pytest -n 2 -m opentelemetry tests/plugin/test_opentelemetry.py

test-frameworks: $(READY) $(BESIDE)/.ready $(EXAMPLES)/.ready $(FRAMEWORKS)/.ready $(FRAMEWORKS_2)/.ready  ## agents in frameworks over the SDKs, the examples of them, and beside other instrumentations
	$(BIN)/python -m pytest -n 2 -m frameworks tests/frameworks tests/examples tests/plugin/test_beside.py

test-pythons: $(PYTHONS:%=.sdk/python%/.ready)  ## whole programs that fork, pool, get signals, or run under gevent, with each of PYTHONS
	for version in $(PYTHONS); do \
	  .sdk/python$$version/bin/python -m pytest -n 2 -m hosts tests/plugin/test_hosts.py tests/plugin/test_kinds_of_program.py || exit 1; \
	  .sdk/python$$version/bin/python -m pytest -n 2 tests/plugin/test_carry.py tests/plugin/test_file.py tests/plugin/test_undo.py || exit 1; \
	done

backends: $(BACKENDS)  ## build the collector, Jaeger and Prometheus where they are missing; needs Go
	$(BIN)/python -m tests.backends.programs

test-backends: backends $(PHOENIX)/.ready  ## the tests with the real collector, Jaeger and Prometheus
	$(BIN)/python -m pytest -m "backends and not slow" tests/backends

test-formats: $(FORMATS)  ## the tests that open exported files with speedscope, Polars and Arrow, and hold JUnit and SARIF against their schemas; needs node and npm
	$(BIN)/python -m pytest -m formats tests/analyzer/export tests/analyzer/report

stack: backends $(if $(JAEGER_ASSETS),,$(PHOENIX)/.ready)  ## run the collector, Jaeger and a page here, without Docker
	$(BIN)/python -m tests.backends.programs stack

screenshots: backends $(PHOENIX)/.ready  ## pages of some runs in SCREENSHOTS (.sdk/screenshots/), made by headless Chromium
	@command -v chromium >/dev/null || { echo "screenshots: there is no \`chromium\` here (apt-get install chromium)" >&2; exit 2; }
	SCREENSHOTS=$(or $(SCREENSHOTS),.sdk/screenshots) $(BIN)/python -m pytest -m screenshots tests/backends

check: $(READY)  ## format, lint, types, docstrings
	$(BIN)/ruff format --check --no-cache .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy src/causepath analyzer/src/causepath_analyzer tests/typing
	@# The plugin runs with Python 3.10 too, which has less.
	$(BIN)/mypy --python-version 3.10 --no-warn-unreachable --no-warn-unused-ignores src/causepath
	$(BIN)/python -m tests.docstrings src analyzer/src

fuzz: $(READY)  ## ten minutes of coverage-guided fuzzing of every reader, and the other long tests
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	  $(PIP) install --require-hashes -r requirements/fuzz.txt; \
	else \
	  echo "fuzz: atheris is pinned for Python 3.11, this is $$($(BIN)/python -V): no fuzzing here"; \
	fi
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not backends"

bench: $(READY)  ## measure
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/read.py
	$(BIN)/python -m benchmarks.paths
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python -m benchmarks.labelled
	$(BIN)/python -m benchmarks.findings --docs
	$(BIN)/python -m benchmarks.predictions --docs
	$(BIN)/python -m benchmarks.budgets --docs
	$(BIN)/python -m benchmarks.predictions.example --docs

build: $(READY)  ## the wheels and source archives of both distributions, in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m build --no-isolation --outdir dist analyzer

requirements: $(READY)  ## pin again what requirements/*.in ask for
	$(PIP) install uv
	for name in dev anthropic-oldest anthropic-silent beside hosts opentelemetry-oldest opentelemetry-newest opentelemetry-mixed frameworks frameworks-openai2 fuzz backends phoenix formats schemas examples; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --emit-build-options --no-header --no-strip-extras --upgrade requirements/$$name.in --output-file requirements/$$name.txt; \
	done

clean:
	rm -rf $(VENV) .sdk dist causepath-traces.jsonl

$(READY): requirements/dev.txt pyproject.toml analyzer/pyproject.toml src/causepath.pth src/causepath.start
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "causepath needs Python 3.11 or newer to be developed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-build-isolation --no-deps -e . -e analyzer
	@touch $@

$(FORMATS): requirements/formats.txt requirements/schemas.txt requirements/speedscope.sha256 requirements/sarif-schema.sha256 $(READY)
	@$(PIP) install --require-hashes -r $<
	@rm -rf $(SPEEDSCOPE) && mkdir $(SPEEDSCOPE)
	@cd $(SPEEDSCOPE) && npm pack --silent speedscope@1.25.0 >/dev/null && \
	  sha256sum --check --quiet $(CURDIR)/requirements/speedscope.sha256 && tar -xzf speedscope-*.tgz
	@rm -rf $(SCHEMAS) && mkdir $(SCHEMAS)
	@cd $(SCHEMAS) && npm pack --silent @microsoft/jest-sarif@1.0.0-beta.0 >/dev/null && \
	  sha256sum --check --quiet $(CURDIR)/requirements/sarif-schema.sha256 && tar -xzf microsoft-jest-sarif-*.tgz
	@$(PIP) download --no-deps --require-hashes --dest $(SCHEMAS) -r requirements/schemas.txt && \
	  tar -xzf $(SCHEMAS)/pytest-*.tar.gz -C $(SCHEMAS) --strip-components 1
	@touch $@

$(BACKENDS): requirements/backends.txt $(READY)
	@$(PIP) install --require-hashes -r $<
	@touch $@

# A page for `make stack`, in an environment of its own: it needs 140 packages.
$(PHOENIX)/.ready: requirements/phoenix.txt $(READY)
	@echo "installing Phoenix into $(PHOENIX) ..."
	@rm -rf $(PHOENIX) && $(BIN)/python -m venv $(PHOENIX)
	@$(PHOENIX)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile --no-deps --require-hashes -r $<
	@touch $@

# Other releases of the SDK, each in a folder to put before the installed one.
$(OLDEST)/.ready: requirements/anthropic-oldest.txt $(READY)
	@rm -rf $(OLDEST) && $(PIP) install --require-hashes --target $(OLDEST) -r $<
	@touch $@

# Environments of other Pythons: `python3.13` where that starts, else the one that pyenv has.
.sdk/python%/.ready: requirements/hosts.txt pyproject.toml
	@python=$$(for one in python$* $$HOME/.pyenv/versions/$*.*/bin/python; do \
	    $$one -c '' 2>/dev/null && { echo $$one; break; }; done); \
	  test -n "$$python" || { echo "there is no Python $*: make PYTHONS='3.11' test-pythons" >&2; exit 2; }; \
	  rm -rf .sdk/python$* && $$python -m venv .sdk/python$*
	@.sdk/python$*/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@.sdk/python$*/bin/python -m pip --disable-pip-version-check --quiet install --no-build-isolation --no-deps -e .
	@touch $@

# Environments of their own, as packages of one name in two folders would be mixed.
$(OPENTELEMETRY): .sdk/%/.ready: requirements/%.txt $(READY)
	@rm -rf .sdk/$* && $(BIN)/python -m venv --without-pip .sdk/$*
	@$(BIN)/python -m pip --python .sdk/$*/bin/python --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

# An environment as a user's, with servers, a worker and a notebook's kernel in it.
$(EXAMPLES)/.ready: requirements/examples.txt pyproject.toml analyzer/pyproject.toml $(READY)
	@rm -rf $(EXAMPLES) && $(BIN)/python -m venv --without-pip $(EXAMPLES)
	@$(BIN)/python -m pip --python $(EXAMPLES)/bin/python --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	@$(BIN)/python -m pip --python $(EXAMPLES)/bin/python --disable-pip-version-check --quiet install --no-build-isolation --no-deps -e . -e analyzer
	@touch $@

# The instrumentations of others, in a folder to put before the installed ones.
$(BESIDE)/.ready: requirements/beside.txt $(READY)
	@rm -rf $(BESIDE) && $(PIP) install --require-hashes --target $(BESIDE) -r $<
	@touch $@

# The frameworks, in folders that are named as those of installed packages are: what is in there is
# nobody's application. What is pinned is all there is, and pip need not work it out again.
$(FRAMEWORKS)/.ready $(FRAMEWORKS_2)/.ready: .sdk/%/.ready: requirements/%.txt $(READY)
	@rm -rf .sdk/$* && $(PIP) install --no-deps --require-hashes --target .sdk/$*/site-packages -r $<
	@touch $@

$(SILENT)/.ready: requirements/anthropic-silent.txt $(READY)
	@rm -rf $(SILENT) && $(PIP) install --require-hashes --target $(SILENT) -r $<
	@touch $@
