# Everything a newcomer needs; a machine with Python 3.11+, make and git is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := async-solipsism hypothesis import-linter mypy pyte pytest pytest-asyncio pytest-randomly pytest-timeout pytest-xdist ruff types-protobuf types-psutil
# Writes what runs with protobuf 6.31.1 and all later ones; the runtime must never be the older of the two.
PROTOC := grpcio-tools==1.80.0
SECONDS ?= 60
# Most tests wait for processes and screens; a file's tests stay together.
WORKERS ?= 2

.PHONY: run test check format blackbox bench detection fuzz explore sim proto clean

run: $(STAMP)
	@$(BIN)/wsmon $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m compileall -q wsmon sample_cluster
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Breaks a cluster of real processes and judges it by what its clients saw, e.g. ARGS="kill --runs 3".
blackbox: $(STAMP)
	$(BIN)/python -m tests.blackbox $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.handshakes
	$(BIN)/python -m benchmarks.relay
	$(BIN)/python -m benchmarks.dashboard
	$(BIN)/python -m benchmarks.drain
	$(BIN)/python -m benchmarks.failover

# Freezes, pauses and kills nodes of real clusters, and compares with what the checker promised, e.g. ARGS="--only freeze".
detection: $(STAMP)
	$(BIN)/python -m tests.e2e.detection $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

explore: SEEDS := 20000
explore: $(STAMP)
	$(BIN)/python -m tests.sim.explore --seeds $(SEEDS) $(ARGS)

sim: SEEDS := 1000
sim: $(STAMP)
	$(BIN)/python -m tests.sim_health --seeds $(SEEDS) $(ARGS)

proto: $(STAMP)
	@$(PYTHON) -m venv $(VENV)/proto
	@$(VENV)/proto/bin/python -m pip install --quiet --disable-pip-version-check $(PROTOC)
	$(VENV)/proto/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. sample_cluster/proto/wsc.proto

clean:
	rm -rf $(VENV) dist build

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "wsmon needs Python 3.11 or newer; set PYTHON=")'
	@echo "Setting up $(VENV) (once)…"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . $(DEV)
	@$(BIN)/python -m compileall -q wsmon sample_cluster
	@touch $(STAMP)
