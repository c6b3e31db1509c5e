# Spotgrid's few commands. Each makes the environment it needs; a second run finds it ready.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test pytest lint format bench train campaign picture lock clean

PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet -c constraints.txt
MARK ?= not slow and not e2e and not soak
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z ]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_VENV)/.ready  ## render a stained garment, find the stains, say how well: core install, no torch
	$(DEMO_VENV)/bin/spotgrid demo $(ARGS)

test: lint pytest  ## lint, then the default test suite (MARK='slow or e2e' for the rest)

pytest: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -m '$(MARK)' $(ARGS)

lint: $(VENV)/.ready  ## ruff and mypy --strict
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .

format: $(VENV)/.ready  ## let ruff fix and format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

train: $(VENV)/.ready  ## train the network: make train ARGS='name=mine steps=4000 threads=2' (docs/research.md)
	$(VENV)/bin/python -m training.train $(ARGS)

bench: $(VENV)/.ready  ## measure speed and cost, into benchmarks/results/ (ARGS=--list, ARGS='--only speed')
	$(VENV)/bin/python -m benchmarks.campaign --bench $(ARGS)

campaign: $(VENV)/.ready  ## every campaign at its full N, hours, into benchmarks/results/ (ARGS=--list, ARGS=--reduced)
	$(VENV)/bin/python -m benchmarks.campaign $(ARGS)

picture: $(VENV)/.ready  ## the README's picture, anew from the demo
	$(VENV)/bin/spotgrid demo --out out/demo
	$(VENV)/bin/python .ci/picture.py out/demo/shirt.overlay.png docs/img/overlay.png

lock: $(VENV)/.ready  ## resolve pyproject.toml anew into constraints.txt
	$(VENV)/bin/python .ci/lock.py

clean:  ## remove environments and caches; keeps out/ and runs/
	rm -rf $(VENV) $(DEMO_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# An environment is ready when it was installed after the last change of what it is made from.
$(DEMO_VENV)/.ready: EXTRAS :=
$(VENV)/.ready: EXTRAS := [train,mlflow,report,postgres,otel,openvino,ray,dev]
%/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Spotgrid needs Python 3.11 or newer, this is "\
	+ sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	@echo "installing into $* (about a minute, once)" >&2
	test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python $(PIP_INSTALL) -e '.$(EXTRAS)'
	@touch $@
