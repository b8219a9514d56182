# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -W ignore
CLIP := --model clip-word-tiny
CORES := $(shell getconf _NPROCESSORS_ONLN)
# Of a training, which is of small models, and processes of the tests, of which one takes up to 4 GB.
THREADS ?= $(shell echo $$(($(CORES) < 4 ? $(CORES) : 4)))
DEMO := data/demo
DEMO_CONFIG := configs/mini/dptr_nrtr_demo.py
DEMO_DIR := work_dirs/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format docs real7k study-stores results clean-demo

help:  ## Show what there is to make
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(VENV)/.installed  ## Create the virtual environment with everything in it

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "setuptools>=77,<82" wheel
	$(BIN)/python -m pip install --quiet -e ".[openmmlab,dev]"
	touch $@

demo: install  ## Pre-train a decoder on words, fine-tune on rendered images, read samples
	$(RUN) tools/make_demo_data.py $(DEMO) --train 12000
	$(RUN) tools/extract_text_embeddings.py $(DEMO)/words.txt --out $(DEMO)/embeddings $(CLIP) \
		--spelling characters --dictionary configs/_base_/dicts/lower_english_digits.txt
	$(RUN) tools/extract_orp_bank.py $(DEMO)/backgrounds --out $(DEMO)/orp_bank $(CLIP)
	OMP_NUM_THREADS=$(THREADS) $(RUN) tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO_DIR) --resume
	$(RUN) tools/visualize_fmu.py $(DEMO_CONFIG) $$(cat $(DEMO_DIR)/last_checkpoint) \
		--out $(DEMO_DIR)/readings.png
	@echo "Look at $(DEMO_DIR)/readings.png."

test: lint  ## Check style, types and docstrings, and run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(THREADS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check mmdptr tools tests
	$(BIN)/mypy
	$(BIN)/interrogate --quiet mmdptr tools

format: install  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format mmdptr tools tests

docs: install  ## Build the documentation into docs/_build
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/sphinx-build -W -b html docs docs/_build

STUDY ?= tools/study/controls.yaml
STUDY_CLIP ?= --model mmdptr-tiny --pretrained random
# Not those in tools/study/results, whose runs would count as done.
RESULTS ?= work_dirs/study_results/$(basename $(notdir $(STUDY)))

real7k: install  ## Run a STUDY of mini recipes on DATA (see docs/benchmarks.md), hours
	@test -n "$(DATA)" || { echo "Give the data: make real7k DATA=folder (docs/benchmarks.md)"; exit 2; }
	$(RUN) tools/prepare_real7k.py $(DATA)
	$(RUN) tools/extract_text_embeddings.py $(DATA)/corpora/en_vocabulary_90k.txt \
		--out data/dptr/words $(STUDY_CLIP) --spelling characters \
		--dictionary configs/_base_/dicts/lower_english_digits.txt
	$(RUN) tools/extract_orp_bank.py $(DATA)/backgrounds/bsds500 --out data/dptr/backgrounds $(STUDY_CLIP)
	OMP_NUM_THREADS=$(THREADS) $(RUN) tools/study/run.py $(STUDY) --results $(RESULTS)
	$(RUN) tools/study/table.py $(STUDY) --results $(RESULTS)

study-stores: install  ## Make the other embeddings that some studies need, of the same DATA
	@test -n "$(DATA)" || { echo "Give the data: make study-stores DATA=folder (docs/benchmarks.md)"; exit 2; }
	PATH="$(abspath $(BIN)):$$PATH" bash tools/study/stores.sh $(DATA)

STUDIES := tools/study
PAGES := README.md docs/benchmarks.md docs/benchmark_tables.md docs/your_own_language.md
EVERY_RECOGNIZER := $(addprefix $(STUDIES)/,recognizers.yaml clip4str.yaml decoder_alone.yaml)

results: install  ## Write what studies have measured into README, docs and configs
	$(BIN)/cog -r -P -I $(STUDIES) $(PAGES)
	$(RUN) $(STUDIES)/metafile.py $(addprefix $(STUDIES)/,recognizers.yaml clip4str.yaml parseq_faithful.yaml)
	$(RUN) $(STUDIES)/plot.py $(EVERY_RECOGNIZER) --out docs/images/recognizers.png
	$(RUN) $(STUDIES)/plot.py $(STUDIES)/ablations.yaml --out docs/images/ablations.png
	$(RUN) $(STUDIES)/plot.py $(STUDIES)/longer.yaml --label steps --out docs/images/longer.png
	$(RUN) $(STUDIES)/plot.py $(STUDIES)/images.yaml --out docs/images/labelled_images.png

clean-demo:  ## Delete what the demo made
	rm -rf $(DEMO) $(DEMO_DIR)
