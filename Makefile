# Every target installs what it needs into .venv first. Nothing here needs a compiler.

PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
# Test processes side by side, and tests to run: make test TESTS=tests/models WORKERS=4
WORKERS ?= 2
TESTS ?= tests

BIN := .venv/bin
READY := .venv/.ready
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
# Every file that can be run; the others there are its helpers.
BENCHMARKS = $(shell grep -l '^if __name__' benchmarks/*.py)
BENCH := .venv-bench/bin
BENCH_READY := .venv-bench/.ready

# Triton's interpreter runs GPU kernels on the CPU. torch for CUDA brings its own Triton; else comes the version that was tested.
TRITON := .venv-triton/bin
TRITON_READY := .venv-triton/.ready

.PHONY: help install demo test check-triton lint format validate bench results notebooks lab clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       train on digits, cross-check every model, write out/demo/report.html"
	@echo "make test       all tests, and the notebooks in their short form"
	@echo "make check-triton  the Triton kernels, on a GPU or in Triton's interpreter, in an environment of their own"
	@echo "make lint       ruff and pyright;  make format  lets ruff rewrite the layout"
	@echo "make validate   the full cross-check of every model in every engine"
	@echo "make bench      speed against other libraries (make bench BENCHMARKS=benchmarks/NAME.py OPTIONS=--quick)"
	@echo "make results    docs/results.md from the committed result files"
	@echo "make notebooks  runs the notebooks in full, pages in out/notebooks"
	@echo "make lab        opens them in JupyterLab"
	@echo "make clean      removes what was built and out/; .venv, .venv-bench and .venv-triton stay"

# torch comes first and alone: later steps then find it installed and cannot exchange it.
# setuptools and wheel too, so that the editable install needs no download of its own.
$(READY): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"spiketwin needs Python 3.11 or newer; {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools wheel torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e ".[dev,notebooks,neo,sweep,cluster,events,reservoirs]"
	@touch $@

install: $(READY)

demo: $(READY)
	$(BIN)/spiketwin demo

# One pytest run for both, so that its last line counts everything.
test: $(READY)
	SPIKETWIN_SHORT=1 $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --nbmake --nbmake-timeout=600 $(TESTS) $(if $(filter tests,$(TESTS)),$(NOTEBOOKS))

$(TRITON_READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv-triton
	$(TRITON)/python -m pip install --quiet -c constraints.txt setuptools wheel torch==2.13.0
	$(TRITON)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e . hypothesis pytest
	$(TRITON)/python -c "import triton" 2>/dev/null || $(TRITON)/python -m pip install --quiet triton==3.9.0
	@touch $@

check-triton: $(TRITON_READY)
	$(TRITON)/python -m pytest -q tests/engines/torch/test_triton.py

# pyright looks for spiketwin.models as a path; the links give it one.
lint: $(READY)
	$(BIN)/ruff check .
	@mkdir -p build/typing/spiketwin
	@for folder in models rules experiments; do ln -sfn ../../../$$folder build/typing/spiketwin/$$folder; done
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

validate: $(READY)
	$(BIN)/spiketwin crosscheck --all-schemes --out out/validate

# The peers have an environment of their own: they shall not hold back the versions of ours.
$(BENCH_READY): pyproject.toml setup.py constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet -c constraints.txt setuptools wheel torch==2.13.0
	$(BENCH)/python -m pip install --quiet --no-build-isolation -c constraints.txt -e .
	$(BENCH)/python -m pip install --quiet --no-deps -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH_READY)
	@for file in $(BENCHMARKS); do echo "== $$file"; $(BENCH)/python $$file $(OPTIONS) || exit 1; done

results: $(READY)
	$(BIN)/spiketwin results

notebooks: $(READY)
	@test -n "$(NOTEBOOKS)" || { echo "no notebooks yet: add notebooks/NN_verb_object.ipynb" >&2; exit 1; }
	@mkdir -p out/notebooks
	$(BIN)/jupyter nbconvert --execute --to html --output-dir out/notebooks $(NOTEBOOKS)

lab: $(READY)
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .cache
	find models rules experiments tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
