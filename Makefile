# Needs python3 (3.11 or newer, with venv) and make; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help serve test lint format bench docs clean

help:  ## Show what can be made
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/'

# The package is installed in editable form: only a change of what it needs installs again.
$(VENV)/.serve: pyproject.toml constraints.txt tools/make_venv.py
	@$(PYTHON) tools/make_venv.py $(VENV) .serve codecs

$(VENV)/.develop: pyproject.toml constraints.txt tools/make_venv.py
	@$(PYTHON) tools/make_venv.py $(VENV) .develop codecs,test,lint

serve: $(VENV)/.serve  ## Start a node: DIMSE on 127.0.0.1:11112, HTTP on 127.0.0.1:8080
	@exec $(BIN)/dicomwire serve $(ARGS)

test: $(VENV)/.develop  ## Run the tests on all cores; ARGS="-k words" runs some
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: $(VENV)/.develop  ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/standard_map.py --check
	$(BIN)/python tools/settings_reference.py --check
	$(BIN)/python tools/diagnosis_pages.py --check

format: $(VENV)/.develop  ## Sort imports and lay out the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.develop  ## Measure against DCMTK and Orthanc, if they are installed
	@$(BIN)/python -m benchmarks run $(ARGS)

docs: $(VENV)/.develop  ## Write the generated documents again
	$(BIN)/python tools/standard_map.py
	$(BIN)/python tools/settings_reference.py
	$(BIN)/python tools/diagnosis_pages.py

clean:  ## Remove what was made, the data folder excepted
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
