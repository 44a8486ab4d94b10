# Every target builds .venv when it is missing or older than the project file. PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := start_terminal key_latency open_transcript open_conversation write_message time_to_first_token search_log import_log train_throughput pretrain_step

.PHONY: chat test check bench docs tour clean

chat: .venv/installed
	$(BIN)/chatbot models pull
	$(BIN)/chatbot db upgrade
	$(BIN)/chatbot

test: .venv/installed
	$(BIN)/python -m pytest

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

# Rewrites what in the README and docs/ is made by the program itself: the help texts and the screenshots.
docs: .venv/installed
	$(BIN)/python docs/write.py
	$(BIN)/python docs/show.py

# The file tells a finished environment from one whose installation was interrupted.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --progress-bar on -c constraints.txt --editable . --group dev
	touch .venv/installed

# From a text to a model that was raised on it and answers, in a few minutes.
tour: .venv/installed
	docs/tour.sh

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache
