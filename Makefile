# make .venv      set up everything, Lava included, in .venv (PYTHON=python3.12 chooses the interpreter)
# make demo       run the whole pipeline on handwritten digits
# make test       the test suite, except the tests that take minutes
# make test-slow  the tests that take minutes
# make fuzz       N random networks through every back end (N=1000, SEED=0)
# make fuzz-files  N damaged files of each kind, or of KIND=events, nir, net, checkpoint, config
# make pythons    install and run the demo on every supported Python of this machine, in fresh clones (10 to 30 minutes)
# make lint       formatting, linting, types
# make check      lint and test
# make docs       build the documentation site into build/site
# make smoke      build sdist and wheel, install each into an empty environment and try it
# make lock       resolve the versions in locks/ again, one file per Python (needs uv; UPGRADE=1 takes the newest)
# make clean      remove what was built, .venv included

PYTHON ?= python3
# The stamp carries the Python version: another PYTHON builds the environment again.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
STAMP := .venv/.complete-$(VERSION)
BIN := .venv/bin
# The matrices are small: one thread per process is faster, and other processes keep their cores.
export OMP_NUM_THREADS ?= 1

.PHONY: .venv demo test test-slow fuzz fuzz-files lint ide docs smoke format check lock pythons clean

.venv: $(STAMP)

$(STAMP): pyproject.toml $(wildcard locks/*.txt) scripts/install.py
	@$(PYTHON) scripts/install.py .venv --stamp $(STAMP)

demo: $(STAMP)
	$(BIN)/sdsnn demo

# Whole files go to the processes, one per core: what a file's tests share is built once.
test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

N ?= 1000
SEED ?= 0
fuzz: $(STAMP)
	$(BIN)/python scripts/fuzz.py $(N) --seed $(SEED) --traces build/fuzz

KIND ?=
fuzz-files: $(STAMP)
	$(BIN)/python scripts/fuzz_files.py $(N) --seed $(SEED) $(if $(KIND),--kind $(KIND))

lint: $(STAMP) ide
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Links that map import names to folders, for programs that do not follow the package-dir mapping.
ide:
	@rm -rf .ide && mkdir -p .ide/sdsnn
	@for item in sdsnn/*; do ln -s ../../$$item .ide/sdsnn/; done
	@for room in train export deploy; do ln -s ../../$$room .ide/sdsnn/$$room; done
	@ln -s ../sdsnn_core .ide/sdsnn_core

docs: $(STAMP) ide
	$(BIN)/python -m pip install --quiet --constraint locks/py$(subst .,,$(basename $(VERSION))).txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

smoke: $(STAMP)
	$(BIN)/python scripts/smoke.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test

lock:
	$(PYTHON) scripts/lock.py $(if $(UPGRADE),--upgrade)

pythons:
	$(PYTHON) scripts/try_pythons.py

clean:
	rm -rf .venv build dist sdsnn.egg-info .ide .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
