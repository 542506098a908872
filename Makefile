# The course in short commands.  Each one sets up .venv when it is missing or
# when requirements.txt has changed; after that it starts at once.
#
#   make lab         open the course in JupyterLab
#   make test        run everything: style, unit tests, every notebook
#   make smoke       will this computer do? a minute of it
#   make memes       caption the pictures of images/ into memes/
#   make notebooks   run the notebooks and store their outputs
#   make lint        style only
#
# PYTHON=... chooses the Python that .venv is made with.
# LOCKED=1 checks all packages but torch against .requirements.lock.
# LAB=... passes options to JupyterLab, say LAB=--no-browser.

export LOCKED

ifeq ($(OS),Windows_NT)
PY := .venv/Scripts/python.exe
else
PY := .venv/bin/python
endif
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python)
# A name on the PATH proves little: it must run, be new enough and make venvs.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
INSTALLED := .venv/.installed
# A .venv whose Python is gone holds nothing: set it up again.
$(shell test -e $(PY) || rm -f $(INSTALLED))

# Jupyter closes a message above 10 MB, say three photos, without a word.
UPLOADS := "--ServerApp.tornado_settings={'websocket_max_message_size':209715200}"

.PHONY: lab test smoke memes notebooks lint setup

lab: setup
	$(PY) -m jupyterlab $(LAB) notebooks/00_start_here.ipynb $(UPLOADS)

test: setup
	$(PY) tests/everything.py

smoke: setup
	$(PY) tests/everything.py smoke

memes: setup
	$(PY) -m vlmtutor memes images --captions images/captions.txt --out memes

notebooks: setup
	$(PY) -m vlmtutor comparison
	$(PY) -m vlmtutor notebooks

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

setup: $(INSTALLED)

$(INSTALLED): requirements.txt $(PY)
	@$(PY) vlmtutor/install.py
	@touch $@

$(PY):
	@for python in $(CANDIDATES); do \
	  if "$$python" -c "$(USABLE)" 2>/dev/null; then \
	    echo "Making .venv with $$("$$python" --version)."; \
	    exec "$$python" -m venv --clear .venv; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer that can make a .venv (tried:" \
	  "$(CANDIDATES)). Install one from https://www.python.org/downloads"; \
	echo "(Debian and Ubuntu: apt install python3-venv)," \
	  "or name yours: make PYTHON=/path/to/python"; \
	exit 1
