# Two commands matter: `make run` and `make test`. Both make the environment first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: env run check fmt lint types layers generated test proof bench

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

test: check  ## make check and every test
	$(BIN)/pytest

proof: env  ## The long counts, appended to committed tables
	$(BIN)/python -m tools.proof

bench: env  ## Side by side with the real Kafka; nothing else may run meanwhile
	$(BIN)/python -m benchmarks
