PYTHON ?= python3
URL ?= http://127.0.0.1:8088/ari
AUTH ?= asterisk:asterisk
READ_ONLY_AUTH ?= reader:readonly

# Where $(PYTHON) has no pytest, .venv gets one.
ifeq ($(shell $(PYTHON) -c "import pytest" 2>/dev/null && echo yes),yes)
PYTEST = $(PYTHON) -m pytest
else
PYTEST = .venv/bin/pytest
endif

.PHONY: help run test conformance

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

run: ## serve http://127.0.0.1:8088/ari with the sample configuration
	$(PYTHON) -m ari_ref --config ari.conf.sample

test: $(filter .venv/%,$(PYTEST)) ## run all tests on the module itself
	$(PYTEST) -q test_ari_ref.py

conformance: $(filter .venv/%,$(PYTEST)) ## test another server: make conformance URL=http://host:8088/ari AUTH=user:password
	ARI_URL='$(URL)' ARI_AUTH='$(AUTH)' ARI_READ_ONLY_AUTH='$(READ_ONLY_AUTH)' $(PYTEST) -q test_ari_ref.py

.venv/bin/pytest:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q pytest
