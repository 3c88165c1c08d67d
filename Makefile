# Two commands do everything on a machine with Python >= 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all lint site claims clean

demo: .venv/installed
	$(BIN)/python -m launch demo

# every law and every second reading, within one process a worker: all but the tests marked process, ray, long or slow
test: .venv/installed
	$(BIN)/python -m pytest

# these, and interpreters of their own, kills, the wheel, the commands of docs/commands.md, a browser and Ray clusters: all but the tests marked slow
test-all: .venv/installed
	$(BIN)/python -m pytest --dist loadgroup -m 'not slow'

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

# the documentation, in build/site; a link that leads nowhere is an error
site: .venv/installed
	$(BIN)/python docs/build.py

# docs/claims.md and its figures, from runs/claims-small; trains missing runs first, which takes about three hours on two idle processors
claims: .venv/installed
	$(BIN)/python -m launch claims --out docs

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build
