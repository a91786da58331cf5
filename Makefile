# make demo: set everything up and train on a generated data set.  make test: set everything up and run the tests.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test lint clean

demo: $(VENV)/demo-ready
	$(RUN) Main.py --data demo --epoch 15 --lr 3e-3 --out results/demo --overwrite

test: $(VENV)/test-ready lint
	$(RUN) -m pytest -n auto --dist worksteal

lint: $(VENV)/test-ready
	$(VENV)/bin/ruff check .

$(VENV)/demo-ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/test-ready: requirements-test.txt $(VENV)/demo-ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
