# make survey   train the built-in network, measure it, write runs/mnist1d/atlas.html
# make test     the tests that take seconds
# make slow     the tests that take longer; CI runs both
# make lint     style, types, import contracts
# make bench    speed, as fractions of the GEMM peak
#
# make survey TORCH="torch==2.6.0"          a torch requirement of yours
# make survey TORCH=path/to/torch.whl       a wheel of yours
# make survey TORCH="torch --index-url URL" an index of yours

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
TORCH ?= $(shell grep '^torch==' constraints.txt)
OUT ?= runs/mnist1d
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export OMP_NUM_THREADS ?= 1

.PHONY: survey test slow lint bench clean

survey: $(VENV)/.demo
	$(BIN)/isthmus survey --task mnist1d --out $(OUT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/ntk_mlp.py 256 1024
	$(BIN)/python benchmarks/ntk_cnn.py
	$(BIN)/python benchmarks/ntk_cnn.py resnet
	$(BIN)/python benchmarks/cost_model.py
	$(BIN)/python benchmarks/hessian_top10.py
	$(BIN)/python benchmarks/slq.py
	$(BIN)/python benchmarks/surface.py 21
	$(BIN)/python benchmarks/dynamics.py
	$(BIN)/python benchmarks/games.py

# A torch that is there is never replaced: its exact version joins the constraints. One that you name is installed first.
$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(origin TORCH),command line)
	$(PIP) $(TORCH)
endif
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) $(TORCH)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -c "import torch; print('torch==' + torch.__version__)" >> $(VENV)/constraints.txt
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) -c $(VENV)/constraints.txt -e ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) -c $(VENV)/constraints.txt -e ".[demo,dev]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
