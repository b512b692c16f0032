# Two commands matter: `make run` and `make test`. Both make the environment first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: env run check fmt lint types layers generated test test-processes test-cores proof bench

env: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $(READY)

run: env  ## A broker on 127.0.0.1:9092 with its data in ./ottla-data
	$(BIN)/ottla serve

fmt: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env
	$(BIN)/mypy

layers: env
	$(BIN)/lint-imports

generated: env
	$(BIN)/python -m tools.wiregen --check

check: lint types layers generated
	$(BIN)/pytest tests/tidy

test: check  ## make check and every test, on two cores
	$(MAKE) --jobs=2 --output-sync=line test-processes test-cores

test-processes: env  ## Tests with brokers and clients as processes of their own
	$(BIN)/pytest tests/interop tests/recovery

test-cores: env  ## Every other test: no process, mostly no thread, no real clock
	$(BIN)/pytest --ignore=tests/interop --ignore=tests/recovery --ignore=tests/tidy

proof: env  ## The long counts, appended to committed tables
	$(BIN)/python -m tools.proof

bench: env  ## Side by side with the real Kafka; nothing else may run meanwhile
	$(BIN)/python -m benchmarks
