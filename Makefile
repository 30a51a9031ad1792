# transship: the commands of a checkout. Each makes what it needs.

VENV := .venv
PYTHON := python3

.PHONY: test check demo clean

# What CI runs: style, types, every test.
test: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas
	$(VENV)/bin/pytest -n 2

check: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas

# Needs only Python and make: builds sample images, serves them, converts and verifies them.
demo: $(VENV)/runtime
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" demo/run.sh

clean:
	rm -rf $(VENV) demo/out build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e '.[dev]'
	touch $@ $(VENV)/runtime
