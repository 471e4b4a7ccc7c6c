# Every target makes its own environment in .venv; nothing else has to be typed.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo rehearsal test slow check lint types imports sanitised flight test-images roots browser bench constraints test-libraries variants clean

help:                ## list the targets
	@grep -E '^[a-z0-9-]+: .*##|^[a-z]+: +##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## */  make \1\t/' | expand -t 22

# For another model: make demo CHECKPOINT=checkpoints/hyvic-s-202
CHECKPOINT ?= checkpoints/adaptive

demo: $(VENV)/demo.stamp  ## a real scene from checkpoint to packets and back, with a report
	PYTHONPATH=ccsds_compare $(BIN)/python -m studies.demo --checkpoint $(CHECKPOINT) --out demo-report

# A process per core would run out of memory on large machines: make test JOBS=8
JOBS ?= 2

# With scenes of your own: make rehearsal SCENES=folder
rehearsal: $(VENV)/dev.stamp  ## the paper's experiments at toy size: every command of docs/reproduction.md, every figure
	PYTHONPATH=ccsds_compare $(BIN)/python -m studies.rehearsal --out rehearsal $(if $(SCENES),--scenes $(SCENES))

test: $(VENV)/dev.stamp  ## all tests but the slow ones
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --dist loadscope

slow: $(VENV)/dev.stamp browser  ## the slow tests
	$(BIN)/python -m pytest -q -m slow

check: lint types imports sanitised flight slow  ## what CI asks beyond the tests

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy
	$(BIN)/pyright

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

sanitised: $(VENV)/dev.stamp  ## the tests of what is in C under AddressSanitizer
	$(BIN)/python tests/platform/sanitised_extensions.py

flight: $(VENV)/dev.stamp  ## install the wheel where there is no torch, encode and decode there
	$(BIN)/python tests/platform/flight_install.py

test-images: $(VENV)/dev.stamp roots  ## make the Dockerfile's images without Docker (under QEMU, as root), code between Arm and here
	unshare --mount $(BIN)/python tests/platform/cross_architecture.py

roots:
	@{ command -v debootstrap && command -v qemu-aarch64-static; } >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -q \
	    && apt-get install -q -y --no-install-recommends debootstrap debian-archive-keyring qemu-user-static; } \
	  || { echo "debootstrap or qemu-user-static is missing: sudo apt-get install debootstrap qemu-user-static" >&2; exit 1; }

# The report's page is opened in it. A font, because without one the picture of the page has no words.
browser:
	@command -v chromium >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -q \
	    && apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; } \
	  || { echo "chromium is missing: sudo apt-get install chromium fonts-dejavu-core" >&2; exit 1; }

bench: $(VENV)/dev.stamp  ## timings, both sides in one run
	$(BIN)/python tests/benchmarks/bench_encoder.py
	$(BIN)/python tests/benchmarks/bench_push_broom.py
	$(BIN)/python tests/benchmarks/bench_adaptive.py
	$(BIN)/python tests/benchmarks/bench_encoder.py --tile 64 --precision int8
	$(BIN)/python tests/benchmarks/bench_families.py
	PYTHONPATH=ccsds_compare $(BIN)/python tests/benchmarks/bench_graph.py
	$(BIN)/python tests/benchmarks/bench_ans.py
	$(BIN)/python tests/benchmarks/bench_training.py
	$(BIN)/python tests/benchmarks/bench_ccsds123.py

# In an environment of its own, because that of the tests is made with the file.
constraints:         ## choose constraints.txt anew: the newest versions that pyproject.toml allows
	rm -rf $(VENV)-constraints && $(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install -q '.[dev]'
	{ echo '# Made by "make constraints" on Python 3.11: the newest libraries that pyproject.toml allows, as pip chose them.'; \
	  $(VENV)-constraints/bin/python -m pip freeze | grep -v '^hyvic-onboard'; } > constraints.new
	mv constraints.new constraints.txt && rm -rf $(VENV)-constraints

test-libraries: $(VENV)/dev.stamp  ## the tests with the newest and the oldest libraries, on Python 3.11 and 3.13
	$(BIN)/python tests/platform/libraries.py

variants: $(VENV)/dev.stamp  ## make demo and make test as other processors and libraries would run them
	$(BIN)/python tests/platform/variants.py

clean:               ## remove the environment and everything built
	rm -rf $(VENV) build dist demo-report rehearsal .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name '*.egg-info' -o -name __pycache__ -o -name '*.abi3.so' | xargs rm -rf

# Debian and Ubuntu keep venv's pip in a package of its own.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it with make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -q -y python3-venv; } \
	  || { echo "python3-venv is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[demo]' -c constraints.txt
	touch $@

# What is in C is built where it can be; only `make sanitised` cannot do without a compiler.
$(VENV)/dev.stamp: pyproject.toml constraints.txt $(shell find runtime -name '*.[ch]') | $(BIN)/python
	@{ command -v gcc >/dev/null && $(PYTHON) -c 'import os, sys, sysconfig; \
	    sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; } \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -q -y gcc libc6-dev python3-dev; } \
	  || echo "no C compiler, so what is in C is left out: sudo apt-get install gcc python3-dev" >&2
	$(BIN)/python -m pip install -q -e '.[dev]' -c constraints.txt
	touch $@ $(VENV)/demo.stamp
