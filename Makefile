# Each target sets up all it needs on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
.PHONY: demo test lint docs bench
.DEFAULT_GOAL := test

$(VENV)/.installed: pyproject.toml
	@echo "== creating $(VENV) and installing unembed with everything for development (a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

lint: $(VENV)/.installed
	@echo "== lint and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	@echo "== tests"
	$(BIN)/python -m pytest
