# transship: the commands of a checkout. Each makes what it needs.

VENV := .venv
PYTHON := python3

# Where Python is told to keep nothing compiled, each of the thousands of commands of the tests compiles the product.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: test check acceptance faults-report demo bench man clean

# What CI runs: style, types, every test. Tests of a file stay with one worker, mostly, and share what is set up for them.
test: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas -p benchmarks
	$(VENV)/bin/pytest -n 2 --dist worksteal

check: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p transship.pipeline -p transship.tasks -p transship.schemas -p benchmarks

# The main job at full size: 20 images of about 40 MB each, compressed; then bundles of 50 images, 1.1 GB; prints
# figures. More than half an hour on two busy cores, and tens of GB of /tmp: Docker and Podman keep whole copies of each
# layer there.
acceptance: $(VENV)/dev
	TRANSSHIP_IMAGES=20 TRANSSHIP_BASE_MIB=44 TRANSSHIP_OWN_MIB=44 \
	    TRANSSHIP_KILLS=20 $(VENV)/bin/pytest -s tests/test_real_tools.py tests/test_skopeo_outputs.py \
	    tests/test_interrupted.py::test_killed_again_and_again_the_result_is_that_of_an_undisturbed_run
	TRANSSHIP_IMAGES=50 TRANSSHIP_BASE_MIB=44 TRANSSHIP_OWN_MIB=20 \
	    TRANSSHIP_KILLS=8 $(VENV)/bin/pytest -s tests/test_bundle_acceptance.py

# Runs every fault and attack and writes what came of them to docs/reliability.md. TRANSSHIP_FULL=1: blobs of 200 MB,
# sweeps without gaps; half an hour. As root: some cases mount file systems.
FIGURES := $(CURDIR)/.figures
faults-report: $(VENV)/dev
	rm -f $(FIGURES)
	TRANSSHIP_FIGURES=$(FIGURES) $(VENV)/bin/pytest -n 2 --dist worksteal $(if $(TRANSSHIP_FULL),--timeout 3600) \
	    tests/faults tests/hostile tests/fuzz tests/test_interrupted.py
	PYTHONPATH=tests:tests/path $(VENV)/bin/python -m faults.report $(FIGURES) \
	    "$(if $(TRANSSHIP_FULL),200 MB,20 MB)" docs/reliability.md
	rm -f $(FIGURES)

# Needs only Python and make: builds sample images, serves them, converts and verifies them.
demo: $(VENV)/runtime
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" demo/run.sh

# Half an hour, on a machine that does nothing else. Compares with skopeo and crane where they are installed.
# Measures an installation, as users have it: a checkout's modules are looked up in another way, and may be compiled anew at
# each start.
BENCH := .venv-bench
bench:
	rm -rf build
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install -q .
	rm -rf build
	$(BENCH)/bin/python -m benchmarks --write docs/benchmarks.md

# transship(1) and one page a command, from the arguments that the program itself reads.
man: $(VENV)/runtime
	$(VENV)/bin/python -m transship.pipeline.cli.man build/man

clean:
	rm -rf $(VENV) $(BENCH) demo/out benchmarks/out build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install -q -e '.[dev]'
	touch $@ $(VENV)/runtime
