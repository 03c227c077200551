# ssmreduce: `make compare` and `make test` set up what they need in .venv and run. `make help` lists the rest.
#
# PYTHON=...  the interpreter that the environment is made from (3.11 or newer)
# JOBS=...    parallel test processes
# SEED=...    seed of the drawn examples, so that a failure can be repeated
# TORCH=...   what `make torch` installs: a version (torch==2.9.0), or the file of a wheel; an index of CPU wheels is PIP_*
# PIP_*       environment variables and pip's configuration files are respected: no index is named here
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# The first interpreter of 3.11 or newer; an empty result is reported by the rule that needs it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
JOBS ?= auto
SEED ?= 0
VENV := .venv
RUN := $(VENV)/bin/python
PINNED := $(VENV)/pinned.txt
INSTALL := $(RUN) -m pip install --quiet --constraint $(PINNED)
OUT := out
# torch is not among them: it comes in too many builds; a file that needs it says so.
LOCKED := --extra all --extra orbax --extra origins --extra test --extra bench --extra docs --extra lint

# A stamp is written after its install has succeeded, so an interrupted one is repeated; it is older than
# pyproject.toml or requirements.lock when these change, and the install is repeated too.
MADE := $(VENV)/.made
COMPARE_READY := $(VENV)/.ready-compare
ALL_READY := $(VENV)/.ready-all
# PyTorch has an environment of its own: without an index of CPU wheels it brings gigabytes.
TORCH ?= torch
TORCH_VENV := .venv-torch
TORCH_READY := $(TORCH_VENV)/.ready

.PHONY: help compare test torch processors mutants lint types contracts docs record bench bench-train lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

compare: $(COMPARE_READY) ## compare every reduction of one layer of the shipped model: table, figure, report
	@mkdir -p $(OUT)
	$(RUN) -m ssmreduce compare --plot $(OUT)/compare.png --html $(OUT)/compare.html --json $(OUT)/compare.json

test: $(ALL_READY) ## install everything and run the tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAX_PLATFORMS=$${JAX_PLATFORMS:-cpu} \
	$(RUN) -m pytest -n $(JOBS) --dist worksteal --hypothesis-seed=$(SEED) $(PYTEST_ARGS)

torch: $(TORCH_READY) ## the tests that need PyTorch, in .venv-torch, with s5-pytorch and LRU-pytorch
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(TORCH_VENV)/bin/python -m pytest -n $(JOBS) --hypothesis-seed=$(SEED) $(PYTEST_ARGS) \
	$$(grep -rlE 'importorskip\("torch"\)|"torch"' tests/ssmreduce tests/docs --include='test_*.py')

processors: $(ALL_READY) ## the tests of theory and of every reduction again, rounded as other processors do
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) tests/other_processor.py -n $(JOBS) --dist worksteal \
	--hypothesis-seed=$(SEED) --ignore tests/contract/test_contract.py $(PYTEST_ARGS) tests/theory tests/contract

mutants: $(ALL_READY) ## nightly: break the code on purpose, a line at a time; fails where no test notices
	$(RUN) tests/mutants/run.py $(MUTANTS_ARGS)

lint: $(ALL_READY) ## ruff
	$(RUN) -m ruff check .

types: $(ALL_READY) ## mypy, strict, on theory and ssmreduce
	$(RUN) -m mypy

contracts: $(ALL_READY) ## who may import whom
	$(VENV)/bin/lint-imports

docs: $(ALL_READY) ## build the documentation (docs/_build/html), executing its examples; warnings are errors
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

record: $(ALL_READY) ## record the runs that README and docs quote (RECORD=compare, or accuracy --data FOLDER)
	$(RUN) docs/record.py $(or $(RECORD),compare)

bench: $(ALL_READY) ## measure speed and accuracy against python-control, slycot and pyMOR
	@$(INSTALL) --editable ".[bench]"
	$(RUN) tests/benchmarks/run.py

bench-train: $(ALL_READY) ## time training steps beside the reference's (BENCH_ARGS=--quick for a CPU)
	$(RUN) tests/benchmarks/train_step.py $(BENCH_ARGS)

lock: $(ALL_READY) ## write requirements.lock again from pyproject.toml (exact versions, hashes; names no index)
	@mkdir -p $(OUT)
	$(RUN) -m piptools compile --quiet --generate-hashes $(LOCKED) --upgrade --strip-extras --no-annotate --no-header \
		--allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file $(OUT)/lock.txt pyproject.toml
	sed -e '/^#/d' -e '/^$$/d' -e '/^ssmreduce/d' $(OUT)/lock.txt > requirements.lock

clean: ## remove the environment, the results and every cache
	rm -rf $(VENV) $(TORCH_VENV) $(OUT) build dist docs/_build docs/jupyter_execute .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where Python came without ensurepip (Debian's python3 without python3-venv), pip installs itself into the environment.
$(MADE):
	@test -n "$(PYTHON)" || { echo "ssmreduce needs Python 3.11 or newer; none found on PATH. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@if $(RUN) -c 'import pip' 2>/dev/null; then :; else rm -rf $(VENV); echo "making $(VENV) with $$($(PYTHON) --version)"; \
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(RUN) install --quiet pip; }; fi
	@touch $@

# The versions alone: pip cannot check the hash of a checkout, which `pip install --require-hashes -r requirements.lock` does
# not install. pip itself and setuptools stay as they are.
$(PINNED): $(MADE) requirements.lock
	@sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*\).*/\1/p' requirements.lock | grep -vE '^(pip|setuptools)==' > $@

$(COMPARE_READY): $(MADE) $(PINNED) pyproject.toml
	@echo "installing ssmreduce with the extras plot and control (no JAX); about a minute, once"
	@$(INSTALL) --editable ".[plot,control]"
	@touch $@

# Not held to requirements.lock, which PyTorch's own needs contradict.
$(TORCH_READY): $(MADE) pyproject.toml
	@echo "installing PyTorch and the tests' tools in $(TORCH_VENV); minutes, once"
	@$(RUN) -m venv $(TORCH_VENV) 2>/dev/null || $(RUN) -m venv --without-pip $(TORCH_VENV)
	@$(RUN) -m pip --python $(TORCH_VENV)/bin/python install --quiet "$(TORCH)" --editable ".[test,torch]"
	@$(RUN) -m pip --python $(TORCH_VENV)/bin/python install --quiet --no-deps s5-pytorch==0.2.1 LRU-pytorch==0.1.3
	@touch $@

$(ALL_READY): $(MADE) $(PINNED) pyproject.toml
	@echo "installing ssmreduce with all extras, test, docs and lint tools; a few minutes, once"
	@$(INSTALL) --editable ".[all,orbax,origins,test,docs,lint]"
	@touch $(COMPARE_READY) $@
