# make setup | demo | test | test-slow | docs | coverage | release | clean | distclean
#   PYTHON=python3.12           the interpreter to build .venv from
#   SITE_PACKAGES=/some/folder  use the torch or Detectron2 of that folder instead of downloading it

PYTHON = python3
VENV_PYTHON = .venv/bin/python
READY = .venv/ready

# The results of demo and test are kept under a checksum of all files they depend on. They are made again when one of
# these files changes.
checksum = $(shell { find $(1) -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cksum; $(2); } \
	2>/dev/null | cksum | tr ' ' -)
# Synthetic images are drawn into the checkout, where make clean removes them.
export SGOVSS_CACHE ?= $(CURDIR)/.cache
# Without bytecode every process would compile all modules and tests again.
unexport PYTHONDONTWRITEBYTECODE

CODE = sgovss configs datasets demo research tools train_net.py setup.py pyproject.toml Makefile
REAL_DATA = echo "$$SGOVSS_REAL_DATA"; ls -d ../shared/data
DEMO_DONE := output/demo/done-$(call checksum,$(CODE),true)
TEST_DONE := output/test/passed-$(call checksum,$(CODE) tests docs mkdocs.yml .ci *.md *.in *.cff LICENSE NOTICE,$(REAL_DATA))

# Runs pytest and logs its output; a plain pipe to tee would lose its exit status.
pytest = { $(3) $(VENV_PYTHON) -m pytest $(2); echo $$? > $(1)/status; } 2>&1 | tee $(1)/log; exit $$(cat $(1)/status)

.PHONY: setup demo test test-slow docs coverage release clean distclean force

setup: $(READY)

# If PYTHON or SITE_PACKAGES is given, the set-up always runs, because the value may differ from the last one.
$(READY): setup.py pyproject.toml tools/setup_environment.py sgovss/assets/detectron2.txt \
		$(if $(SITE_PACKAGES)$(filter command,$(origin PYTHON)),force)
	@$(PYTHON) tools/setup_environment.py --site-packages "$(SITE_PACKAGES)"
	@touch $@

demo: $(DEMO_DONE)
	@cat output/demo/summary.txt

$(DEMO_DONE): | $(READY)
	@rm -rf output/demo
	$(VENV_PYTHON) tools/demo_main_job.py --output output/demo
	@touch $@

test: $(TEST_DONE)
	@echo "Result for these sources, kept in output/test (remove that folder to run the tests again):"
	@cat $(TEST_DONE)

$(TEST_DONE): | $(READY)
	@rm -rf output/test && mkdir -p output/test
	$(VENV_PYTHON) -m ruff check --quiet .
	$(VENV_PYTHON) -m ruff format --quiet --check .
	@.venv/bin/lint-imports > output/test/imports || { cat output/test/imports; exit 1; }
	@# Types are checked beside the tests: without its cache, mypy takes a minute on one core.
	@$(VENV_PYTHON) -m mypy > output/test/types 2>&1 & types=$$!; \
	($(call pytest,output/test,-n auto --maxprocesses 4 --dist worksteal,OMP_NUM_THREADS=1)); tests=$$?; \
	wait $$types || { cat output/test/types; exit 1; }; exit $$tests
	@tail -n 1 output/test/log > $@

test-slow: $(READY)
	@rm -rf output/test-slow && mkdir -p output/test-slow
	@$(call pytest,output/test-slow,-m slow -n auto --maxprocesses 2 --dist worksteal,OMP_NUM_THREADS=1)

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(VENV_PYTHON) -m mkdocs build --strict --quiet
	@echo "output/site/index.html"

coverage: $(READY)
	@mkdir -p output/coverage
	OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -n auto --maxprocesses 4 --dist worksteal --cov --cov-report=term \
		--cov-report=html:output/coverage/html

# Builds the wheel and the sdist of the last commit into dist/, and checks them; docs/release.md.
release: $(READY)
	$(VENV_PYTHON) tools/release.py

clean:
	rm -rf output build dist *.egg-info .cache .*_cache .hypothesis
	find . -name __pycache__ ! -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
