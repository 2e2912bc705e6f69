# Needs only make and Python >= 3.11; whichever target comes first builds .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install run test bench docs lint clean

help:
	@echo "make run      train 'hello' in JAX and in PyTorch and compare the runs"
	@echo "make test     run the tests; pytest's options in ARGS: make test ARGS='-x -k gru'"
	@echo "              the slow ones, all combinations of many arguments: make test ARGS='-m slow'"
	@echo "make bench    time training steps against Flax, Keras and torch.nn; about an hour"
	@echo "              a first answer in two: make bench ARGS='--quick'"
	@echo "make docs     build the documentation's site into site/, of which index.html opens as it is,"
	@echo "              and test what the documents show"
	@echo "make lint     ruff check, ruff format --check, codespell, pyright"
	@echo "make install  only build .venv, which the others do when it is missing or out of date;"
	@echo "              test, lint and docs add their tools, bench adds Keras"
	@echo "make clean    remove .venv, caches and builds; runs/ and reports/ stay"
	@echo "Another interpreter: make test PYTHON=python3.12"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(if $(shell $(PYTHON) -c 'import sys; print("ok" * (sys.version_info >= (3, 11)))' 2>/dev/null),,\
		$(error $(PYTHON) is missing or older than Python 3.11; name another one: make PYTHON=python3.12))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(DEV_STAMP): $(STAMP)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,docs]'
	@touch $@

run: $(STAMP)
	$(BIN)/python scripts/compare.py --task hello --precision float64 $(ARGS)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

bench: $(BENCH_STAMP)
	$(BIN)/python scripts/bench.py $(ARGS)

# Keras is only a peer to measure, so it comes only with this target.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install -c constraints.txt -e '.[bench]'
	@touch $@

docs: $(DEV_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "docs and not slow"

lint: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/pyright

clean:
	rm -rf $(VENV) build dist site *.egg-info .cache .pytest_cache .ruff_cache .hypothesis
	find rnn_jax rnn_torch rnn_parity shared scripts benchmarks docs tests -name __pycache__ -type d -prune -exec rm -rf {} +
