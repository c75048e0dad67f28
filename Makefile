# The habits of this project. `make help` lists them; ARGS passes options on, as in
# `make gate ARGS="--jobs 2 -v"`. Everything lives in $(VENV); delete it (make clean) to start anew.

VENV ?= .venv
ARGS ?=
# Cases and tests at the same time; latencies are always taken one case at a time.
JOBS ?= 2
BIN := $(VENV)/bin
RUN_EXTRAS := torch,onnxruntime,images,sklearn,html
SPECS := specs/
# What `make gate` runs; the systems of specs/systems/ take minutes each and have a target of their own.
GATED := $(wildcard specs/*.yaml)

# No bytecode or build files of one target may change another's result.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help gate systems weights test lint bench docs clean

help: ## list the targets
	@printf 'usage: make TARGET [ARGS="..."] [VENV=folder] [PYTHON=interpreter]\n\n'
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

gate: $(VENV)/.installed-run ## run the specs of specs/*.yaml against the committed baselines
	$(BIN)/gate run $(GATED) --jobs $(JOBS) $(ARGS)

systems: $(VENV)/.installed-dev ## run the specs of specs/systems/, and show their tables
	$(BIN)/gate run specs/systems/ --jobs $(JOBS) --table $(ARGS)

weights: $(VENV)/.installed-dev ## train the small networks of specs/ anew: specs/weights/
	OMP_NUM_THREADS=1 $(BIN)/python -m specs.training $(ARGS)

test: $(VENV)/.installed-dev ## run the test suite
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope $(ARGS)

lint: $(VENV)/.installed-dev ## style, types, import rules, specs, schema and workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/gate lint $(SPECS)
	$(BIN)/gate baseline verify $(SPECS)
	$(BIN)/python docs/generate.py --check
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck -pyflakes=
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/gate schema --write | tee /dev/stderr | grep -q 'up to date$$' \
	  || { echo 'the published schema was out of date and is renewed now: commit it' >&2; exit 1; }

bench: $(VENV)/.installed-dev ## run the benchmarks (ratios within one run)
	$(BIN)/python -m tests.bench $(ARGS)

docs: $(VENV)/.installed-dev ## write the generated pages of docs/reference/
	$(BIN)/python docs/generate.py $(ARGS)

clean: ## remove the virtual environment, caches and stored runs
	rm -rf $(VENV) .gate .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist *.egg-info
	find gate tests specs -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: each stamp stands for one set of packages, at the versions of constraints.txt -------

$(VENV)/.python:
	@python="$(PYTHON)"; \
	for name in $${python:-python3 python3.14 python3.13 python3.12 python3.11 python}; do \
	  if $$name -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$($$name --version) ($$name)"; \
	    $$name -m venv $(VENV) || exit 1; touch $@; exit 0; \
	  fi; \
	done; \
	echo 'no Python >= 3.11 (with venv) found: install one, or name it as in' >&2; \
	echo '  make $(or $(MAKECMDGOALS),gate) PYTHON=/path/to/python3.11' >&2; \
	exit 1

# The set for development holds the other: nothing is installed twice.
$(VENV)/.installed-run: $(VENV)/.python pyproject.toml constraints.txt
	@if [ $(VENV)/.installed-dev -nt pyproject.toml ] && [ $(VENV)/.installed-dev -nt constraints.txt ]; \
	then touch $@; else $(call install,$(RUN_EXTRAS)); fi

$(VENV)/.installed-dev: $(VENV)/.python pyproject.toml constraints.txt
	@$(call install,dev)

define install
echo "installing quantgate[$(1)] and the versions of constraints.txt into $(VENV) (minutes, once)" \
&& $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)]' \
&& touch $@ \
|| { echo 'the installation failed; on a machine without a GPU see "CPU-only" in README.md' >&2; exit 1; }
endef
