# Two commands do all the set-up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN := runs/quickstart
RESULTS := results/quickstart

.PHONY: quickstart test test-all lint types bench mutants suite clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is %s; say `make PYTHON=python3.12 ...`" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,mappers,gym]'
	touch $@

quickstart: $(STAMP)
	$(BIN)/mallocgame train --config configs/quickstart.yaml
	$(BIN)/mallocgame evaluate --suite tpu_v4_sample/resnet50_b1_inference_v4_4mib \
	  --checkpoint $(RUN) --out $(RESULTS)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/game_speed.py

# Which planted bugs no test notices; more than an hour on one core.
mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutation]'
	$(BIN)/python benchmarks/mutants.py

# Compiles every program of the lists, hours on two cores; what is there already is kept.
suite: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[tpu,suite]'
	-$(BIN)/mallocgame suite build mallocgame/suites/tpu_v4.yaml \
	  -o mallocgame/suites/tpu_v4
	-$(BIN)/mallocgame suite build mallocgame/suites/tpu_later.yaml \
	  -o mallocgame/suites/tpu_later
	-$(BIN)/mallocgame suite build mallocgame/suites/tpu_v4_large.yaml \
	  -o mallocgame/suites/tpu_v4_large --timeout 2400
	$(BIN)/mallocgame suite docs mallocgame/suites/tpu_v4 mallocgame/suites/tpu_later

clean:
	rm -rf $(VENV) build *.egg-info
