# Every target makes its own .venv first. `make PYTHON=/path/to/python3.12 demo` chooses the Python.

.PHONY: help demo test test-all lint format notebooks bench clean

# One process more than the two cores that it is made for: each waits now and then for the processes that it starts.
PYTEST = .venv/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

# Those that read texts, and those that do not.
RACES = cells growth
TEXT_RACES = training serving start

help:
	@echo "make demo       train, measure, export and ask a translator of dates, on built-in data"
	@echo "make test       lint and the tests"
	@echo "make test-all   lint and the full product of cases"
	@echo "make lint       ruff check and ruff format --check"
	@echo "make format     let ruff mend what it can"
	@echo "make notebooks  write each .ipynb from its .py and run it"
	@echo "make bench      races against stock Keras, PyTorch, JAX and ONNX Runtime, which it installs; half an hour"
	@echo "make clean      remove .venv and everything generated"

demo: .venv/.run
	@.venv/bin/keras-rnn demo

test: lint
	@$(PYTEST)

test-all: lint
	@$(PYTEST) -m "full or not full"

lint: .venv/.test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check . || \
	  { .venv/bin/ruff format --check .; echo "\`make format\` mends this." >&2; exit 1; }

format: .venv/.test
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format .

notebooks: .venv/.test
	@for notebook in notebooks/*.py; do \
	  .venv/bin/jupytext --quiet --to ipynb "$$notebook" \
	    && .venv/bin/jupyter execute --inplace "$${notebook%.py}.ipynb" || exit 1; \
	done

# DATA=FOLDER races whole trainings and serving on texts of yours; without it they are generated.
bench: .venv/.test
	@.venv/bin/python -m benchmarks.environments
	@for race in $(RACES); do echo "== $$race"; .venv/bin/python -m benchmarks.$$race || exit 1; done
	@for race in $(TEXT_RACES); do \
	  echo "== $$race"; .venv/bin/python -m benchmarks.$$race --data="$(DATA)" || exit 1; \
	done

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The project alone (.run), and with what its tests need (.test). A changed pyproject.toml installs again.
.venv/.run: pyproject.toml | .venv/bin/pip
	@echo "Installing keras-rnn and TensorFlow into .venv (the first time this downloads them)"
	@.venv/bin/pip install --quiet --quiet --disable-pip-version-check --only-binary :all: -e .
	@touch $@

.venv/.test: pyproject.toml | .venv/bin/pip
	@echo "Installing keras-rnn, TensorFlow and the test tools into .venv (the first time this downloads them)"
	@.venv/bin/pip install --quiet --quiet --disable-pip-version-check --only-binary :all: -e ".[test]"
	@touch .venv/.run $@

# A Python that is named but cannot run (a shim without its version) is passed over like one that is absent.
.venv/bin/pip:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  if $$python -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    >/dev/null 2>&1; then \
	    $$python -m venv .venv && exit 0; \
	    rm -rf .venv; exit 1; \
	  fi; \
	done; \
	echo "keras-rnn needs Python 3.11, 3.12 or 3.13 with its venv module, and none of that kind was found: install one, or name it with \`make PYTHON=/path/to/python3.12\`." >&2; \
	exit 1
