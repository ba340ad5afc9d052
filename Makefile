# Everything starts here. `make help` explains the targets; each sets up what it needs by itself.
SHELL := /bin/bash
# The first Python that runs, has the right version and can make environments (a pyenv shim may do none of these).
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python3.13; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
  && echo $$p && break; done)
BIN := .venv/bin
PROFILE ?= smoke

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test test-slow lint lab notebooks book bench lock clean

help: ## Explain the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-11s %s\n", $$1, $$2 }'

# One stamp file: the environment is made again when the lock file or pyproject.toml changes.
.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; call make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: .venv/.ready ## Make the environment in .venv

reproduce: setup ## Run the whole series through papermill (PROFILE=smoke|laptop|overnight|full|paper)
	$(BIN)/python notebooks/reproduce.py --profile $(PROFILE)

# One thread for each of the two workers: more threads than cores wait for each other, and everything crawls.
test: export OMP_NUM_THREADS = 1
test: setup ## Every test that is not slow, and nbval over the stored notebooks
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope -m "not slow"
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout 120 --numprocesses 2 --dist loadscope notebooks/*.ipynb

test-slow: export OMP_NUM_THREADS = 1
test-slow: setup ## The slow tests, among them the widgets in a real browser
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope -m slow

lint: setup ## Formatting, style, spelling, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/pyright

lab: setup ## Open JupyterLab on notebook 00
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

notebooks: setup ## Build the stored notebooks from notebooks/src
	$(BIN)/python notebooks/build.py

book: setup ## The stored notebooks as one site that needs no network: runs/book/index.html
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going \
	  -c notebooks --doctree-dir runs/book/.doctrees . runs/book
	@echo open runs/book/index.html

bench: setup ## Side-by-side timings
	$(BIN)/python benchmarks/compositing.py
	$(BIN)/python benchmarks/training.py

lock: setup ## Resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --all-extras --upgrade pyproject.toml --output-file requirements.lock

# Never runs/ or data/cache/: training states and prepared mattes take days to make again.
clean: ## Remove the environment and the tools' caches (runs and data stay)
	rm -rf .venv .pytest_cache .ruff_cache
