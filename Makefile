PYTHON ?= python3
PORT ?= 8088
URL ?= http://127.0.0.1:$(PORT)/ari
AUTH ?= asterisk:asterisk

# Where $(PYTHON) has no pytest, a virtual environment of that very Python gets one.
ifeq ($(shell $(PYTHON) -c "import pytest" 2>/dev/null && echo yes),yes)
PYTEST = $(PYTHON) -m pytest
else
VENV := .venv/$(shell $(PYTHON) -c "import sys; print(sys.implementation.cache_tag)")
PYTEST = $(VENV)/bin/pytest
ifeq ($(VENV),.venv/)
$(error there is no $(PYTHON))
endif
endif

.PHONY: help run test conformance

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

run: ## serve http://127.0.0.1:8088/ari with the sample configuration; PORT=N takes another port
	$(PYTHON) -m ari_ref --config ari.conf.sample --port $(PORT)

test: $(filter $(VENV)/%,$(PYTEST)) ## run all tests on the module itself
	$(PYTEST) -q test_ari_ref.py

conformance: $(filter $(VENV)/%,$(PYTEST)) ## test another server: make conformance URL=http://host:8088/ari AUTH=user:password
	ARI_URL='$(URL)' ARI_AUTH='$(AUTH)' $(PYTEST) -q test_ari_ref.py

$(VENV)/bin/pytest:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q pytest
