# transship: the commands of a checkout. Each makes what it needs.

VENV := .venv
PYTHON := python3

.PHONY: test check demo bench clean

# What CI runs: style, types, every test.
test: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas -p benchmarks
	$(VENV)/bin/pytest -n 2

check: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas -p benchmarks

# Needs only Python and make: builds sample images, serves them, converts and verifies them.
demo: $(VENV)/runtime
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" demo/run.sh

# Half an hour, on a machine that does nothing else. Compares with skopeo and crane where they are installed.
bench: $(VENV)/runtime
	$(VENV)/bin/python -m benchmarks --write docs/benchmarks.md

clean:
	rm -rf $(VENV) demo/out benchmarks/out build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e '.[dev]'
	touch $@ $(VENV)/runtime
