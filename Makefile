# canary-trio: every target sets itself up; `make help` lists them.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUNS   := $(VENV)/.runs
RUN    := $(BIN)/python
WORKERS := 4

# Not asked for: ASYNC114 and ASYNC127 (see pyproject.toml, whose users chose httpx), and
# 910 to 913: the wire awaits only where a socket would block, so most paths have no
# checkpoint; what moves much takes turns by count instead (net/stream.py). 100 is ruff's, in no
# time, and 300 of asyncio, which nothing here imports: each costs a walk of every file.
ASYNC_OFF := ASYNC100,ASYNC114,ASYNC127,ASYNC300,ASYNC910,ASYNC911,ASYNC912,ASYNC913

FLOOR_HTTP   := 93
FLOOR_KV     := 92
FLOOR_CANARY := 93.5

# What is imported is compiled once: the tests start a thousand processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage check mypy contracts format bench bars guard docs site screenshots types crash drills fuzz handover soak verify wheel clean

help:  ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# What a user has: the package and what it needs, nothing of what makes and tests it.
$(RUNS): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "canary-trio needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $(RUNS)

# python-consul2, a judge in the tests, has the module name of another one, py-consul;
# so it gets a directory of its own. axe-core, which judges the console's page, comes in a
# package for a browser that is not needed.
$(STAMP): $(RUNS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --target $(VENV)/other-clients/python-consul2 python-consul2==0.1.5
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --target $(VENV)/other-clients/axe axe-playwright-python==0.1.8
	@$(BIN)/python -m compileall -q src
	@touch $(STAMP)

install: $(STAMP)  ## Make the virtual environment .venv with the package in it

fuzz: install  ## Fuzz the pure modules for a minute (FUZZ="--seconds 600")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt atheris || echo "no atheris here; mutations without its guidance"
	@$(BIN)/python -m tests.fuzz $(FUZZ)
	@CONSOLE_EXAMPLES=30 $(BIN)/python -m pytest -q tests/canary_trio/integration/test_console_fuzzed.py

soak: install  ## Minutes with faults, one among hostile clients, a million requests
	@$(BIN)/python -m tests.http_trio.integration.chaos $(SOAK)
	@$(BIN)/python -m tests.http_trio.integration.http2_chaos $(SOAK)
	@$(BIN)/python -m tests.e2e.soak $(SOAK)
	@$(BIN)/python -m benchmarks.hostile
	@$(BIN)/python -m benchmarks.leaks

demo: $(RUNS)  ## Run the main job: two versions, a store and a proxy, live
	@$(BIN)/canary demo

# Four at a time keep two processors busy: much of it waits for processes. A file stays with
# one worker, and files keep their order: those with few tests, which start processes, would
# come last otherwise, and one worker alone would run them.
test: install  ## Pass the tests (TESTS="tests/kv_trio -k watch" for some of them)
	@$(RUN) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 --durations-min=3 $(TESTS)

# Floors in percent of lines and branches, a point below what was measured. A process
# that a test kills with SIGKILL tells nothing of what it ran.
coverage: install  ## Pass the tests, and hold each package to its floor of coverage
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test RUN="$(BIN)/coverage run"
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --include='src/http_trio/*' --fail-under=$(FLOOR_HTTP)
	@$(BIN)/coverage report --include='src/kv_trio/*' --fail-under=$(FLOOR_KV)
	@$(BIN)/coverage report --include='src/canary_trio/*' --fail-under=$(FLOOR_CANARY)

check: install  ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	grep -rlE --include='*.py' '\b(async|await|import trio|trio\.)' src examples | \
	  xargs -P 2 -n 33 $(BIN)/flake8-async --enable=ASYNC --disable=$(ASYNC_OFF)
	@$(MAKE) --no-print-directory -j 2 mypy contracts

mypy contracts: install
mypy:
	$(BIN)/mypy
contracts:
	$(BIN)/lint-imports --no-cache

format: install  ## Bring the code into the house's layout
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Three minutes; all of it, some twenty, with FULL=1.
bench: install  ## Measure all on this machine, into benchmark-results/: report, pictures, JSON
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.report $(if $(FULL),,--quick)

bars: install  ## Measure each part beside the bars that we hold ourselves to
	$(BIN)/python -m benchmarks.proxy --quick
	$(BIN)/python -m benchmarks.http2 --quick
	$(BIN)/python -m benchmarks.grpc --quick
	$(BIN)/python -m benchmarks.propagation --changes 200
	$(BIN)/python -m benchmarks.store --quick
	$(BIN)/python -m benchmarks.routing
	$(BIN)/python -m benchmarks.rate_limits
	$(BIN)/python -m benchmarks.auth
	$(BIN)/python -m benchmarks.swap
	$(BIN)/python -m benchmarks.commands
	$(BIN)/python -m benchmarks.console --minutes 0.5
	$(BIN)/python -m benchmarks.judge --quick

guard: install  ## Hold what a small response costs against a copier of bytes, as CI does
	$(BIN)/python -m benchmarks.guard

docs: install  ## Write what docs/ has from the code anew: tables, reference, programs
	$(BIN)/python -m canary_trio.config.json_schema docs/document.md
	$(BIN)/python -m canary_trio.command.process.admin docs/workers.md
	$(BIN)/python -m docs.tools.reference

site: install  ## Build the documentation as a site, into build/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: install  ## Write pictures of the console, with sample data, into docs/pictures
	@$(BIN)/python -m tests.canary_trio.support.console_pictures docs/pictures

# TypeScript reads plain scripts too. It is npm's, so it is left out where npm has none.
TSC := npm exec --yes --package=typescript@5.9 -- tsc
types:  ## Check the types of the console's scripts, where npm is
	@if $(TSC) --version >/dev/null 2>&1; then \
	  $(TSC) --noEmit --allowJs --checkJs --target es2022 --module es2022 \
	    --lib es2022,dom,dom.iterable,dom.asynciterable \
	    src/canary_trio/console/page/main.js; \
	else echo "no TypeScript to be had here; types of the console's scripts are not checked"; fi

crash: install  ## Kill the store 100 times while it is written to; nothing may be lost
	$(BIN)/python -m tests.e2e.crash --rounds 100

verify: install  ## Put a fleet under load and faults for a minute, and judge it (VERIFY="--store etcd")
	@$(BIN)/canary verify $(VERIFY)

drills: install  ## Rollouts whose drivers die, stores go, clocks are wrong, on each store here (20 min; DRILLS="--drill abort")
	@$(BIN)/python -m tests.e2e.drills $(DRILLS)

handover: install  ## Let proxies, and stores, follow each other on one port, under load; nothing may be lost
	@$(BIN)/python -m tests.e2e.handover --rounds 50
	@$(BIN)/python -m tests.e2e.handover --rounds 5 --id edge
	@$(BIN)/python -m tests.e2e.store_handover --rounds 20

wheel: install  ## Build the distribution into dist/
	$(BIN)/python -m build

clean:  ## Remove what was built, the virtual environment too
	rm -rf $(VENV) dist build .pytest_cache .coverage .coverage.* .mypy_cache .ruff_cache .hypothesis
